"""Labels for a bundle without a text encoder, where any will do: to be timed, or computed with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtime.labels import LabelBank
from runtime.manifest import Manifest


def bank(manifest: Manifest, names: Sequence[str]) -> LabelBank:
    """A bank with embeddings of random directions, the same at every call."""
    rows = np.random.default_rng(0).standard_normal((len(names), manifest.embedding_dim))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return LabelBank(tuple(names), (), rows.astype(np.float32), manifest.space_id)
