"""Label banks that are built once and kept for the next start; see :mod:`runtime.cache`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from runtime import __version__
from runtime.errors import ClapError
from runtime.labels import LabelBank
from runtime.prompts import check_templates

if TYPE_CHECKING:
    from runtime.encoder import Encoder

KIND, ROWS = "labels", "rows.f32"


def bank(
    encoder: Encoder,
    labels: Sequence[str] | Mapping[str, str | Sequence[str]],
    templates: str | Sequence[str] | None,
) -> LabelBank:
    """:meth:`runtime.LabelBank.build`, or what it gave before for the same bundle and labels; the
    text encoder is then not opened.

    Banks with warnings are built anew, so that they are heard each time.

    Raises:
        LabelError, BackendError: see there.
    """
    cache = encoder.cache
    if cache is None:
        return LabelBank.build(encoder, labels, templates)
    labels = dict(labels) if isinstance(labels, Mapping) else tuple(labels)
    key: dict[str, Any] = {
        "manifest": hashlib.sha256(encoder.manifest_bytes).hexdigest(),
        "whole_texts": encoder.policy.quirks.whole_texts,
        "providers": encoder.providers,
        # Pairs: the order counts, and JSON's objects have none.
        "labels": list(labels.items()) if isinstance(labels, dict) else labels,
        "templates": templates,
        "runtime": __version__,
    }
    try:
        folder = cache.find(KIND, key)
        found = None if folder is None else _read(encoder, folder, labels, templates)
    except (TypeError, ValueError, ClapError):  # no labels, which building them says well
        return LabelBank.build(encoder, labels, templates)
    if found is None:
        found = LabelBank.build(encoder, labels, templates)
        if not found.warnings:
            data = found.embeddings.astype("<f4").tobytes()
            cache.keep(KIND, key, lambda folder: _write(folder / ROWS, data))
    return found


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _read(
    encoder: Encoder,
    folder: Path,
    labels: Sequence[str] | Mapping[str, str | Sequence[str]],
    templates: str | Sequence[str] | None,
) -> LabelBank:
    manifest = encoder.manifest
    used: tuple[str, ...] = ()
    if not isinstance(labels, Mapping):
        used = check_templates(manifest.default_template if templates is None else templates)
    shape = len(labels), manifest.embedding_dim
    rows: NDArray[np.float32] = np.ndarray(shape, "<f4", (folder / ROWS).read_bytes())
    return LabelBank(tuple(labels), used, rows.astype(np.float32), manifest.space_id)
