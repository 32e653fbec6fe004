"""Libraries of given vectors, without recordings or a model, and what is nearest in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from clap_export.library import parts
from runtime.clips.policy import Policy
from runtime.library import columns, description
from runtime.library.description import FORMAT, FORMAT_VERSION, Description, Model
from runtime.library.numbers import stored

MODEL = Model("nowhere", "given", "fp32", "0" * 64)


def clustered(count: int, dim: int, seed: int = 0) -> np.ndarray:
    """Unit vectors about forty centres."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((40, dim))
    rows = centres[rng.integers(0, 40, count)] + 0.6 * rng.standard_normal((count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def library(
    out: Path, vectors: np.ndarray, rows: int, *, kind: Any = "float32", space: str = "given",
    each_window: bool = False,
) -> Path:  # fmt: skip
    """A library of vectors in parts of so many rows; recording ``i`` is ``/sounds/i.wav``."""
    said = Description(
        FORMAT, FORMAT_VERSION, space, space, vectors.shape[1], kind, each_window,
        Policy("default"), MODEL, {},
    )  # fmt: skip
    out.mkdir()
    (out / description.LIBRARY).write_text(description.text(said))
    for number, first in enumerate(range(0, len(vectors), rows), 1):
        part(out, number, vectors[first : first + rows], first, said)
    return out


def part(out: Path, number: int, vectors: np.ndarray, first: int, said: Description) -> None:
    """One part of a library; where windows have vectors, each recording has one window."""
    count = len(vectors)
    numbers, scales = stored(vectors, said.store)
    names = [f"/sounds/{i}.wav" for i in range(first, first + count)]
    cells = [
        {"path": name, "vanished": False, "duration": float(i % 50), "rate": 16000,
         "channels": 1 + i % 2, "size": 10, "mtime_ns": i, "sha256": f"{i // 3:064x}"}
        for i, name in enumerate(names, first)
    ]  # fmt: skip
    kinds = [(columns.RECORDINGS, columns.recordings, cells)]
    if said.each_window:
        windows = [
            {"path": n, "start": 0.0, "end": 1.0 + i, "vanished": False}
            for i, n in enumerate(names)
        ]
        kinds.insert(0, (columns.WINDOWS, columns.windows, windows))
    for kind, schema, rows in kinds:
        (out / kind).mkdir(exist_ok=True)
        table = parts.table(rows, schema(said.store, said.dim))
        content = parts.Content(table, np.ones(count, bool), numbers, scales)
        parts.save(out / kind / parts.name(number), kind, content, said)


def nearest(vectors: np.ndarray, query: np.ndarray, count: int) -> list[str]:
    """The paths of the recordings nearest to a query, the slow way."""
    cosines = vectors.astype(np.float64) @ query.astype(np.float64)
    return [f"/sounds/{i}.wav" for i in np.argsort(-cosines, kind="stable")[:count]]
