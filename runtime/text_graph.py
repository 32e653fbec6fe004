"""The text graph: texts in batches to embeddings, on the engine that runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from runtime.audio_graph import checked_result
from runtime.clips.pooling import check_finite
from runtime.manifest import Manifest

if TYPE_CHECKING:
    from runtime.audio_graph import Embeddings
    from runtime.backends import Backend
    from runtime.lease import Lease
    from runtime.tokenizer import TextTokenizer


class TextGraph:
    """Runs texts.

    Args:
        manifest: of the bundle.
        lease: of the engine, and of the tokenizer.
    """

    def __init__(self, manifest: Manifest, lease: Lease[tuple[Backend, TextTokenizer]]) -> None:
        self._manifest, self._lease = manifest, lease

    def embed(self, texts: Sequence[str], size: int) -> Embeddings:
        """Embed texts, at least one.

        Args:
            texts: as they are.
            size: texts given to the engine at once.

        Returns:
            float32 ``[n, dim]`` of unit norm.

        Raises:
            LabelError: a blank text.
            BackendError: the engine is not available or failed.
        """
        with self._lease.use() as (backend, tokenizer):
            name = backend.output_names[0]
            encoded = tokenizer.encode(texts)
            # Texts of like lengths together: the shorter ones of a batch are filled up.
            order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
            batches = [order[i : i + size] for i in range(0, len(order), size)]
            feeds = (dict(tokenizer.inputs([encoded[i] for i in batch])) for batch in batches)
            rows = np.empty((len(encoded), self._manifest.embedding_dim), np.float32)
            for batch, out in zip(batches, backend.stream(feeds), strict=True):
                rows[batch] = checked_result(out[name], len(batch), self._manifest)
        return check_finite(rows)
