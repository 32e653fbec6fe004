"""Libraries of generated vectors that lie as embeddings do: in clusters of clusters, near a space
of few dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clap_export.library import parts
from runtime.clips.policy import Policy
from runtime.library import columns, description
from runtime.library.description import FORMAT, FORMAT_VERSION, Description, Model
from runtime.library.numbers import stored

DIM = 512
RANK = 48  # dimensions that most of the variance is in
TOPICS, SORTS = 200, 40  # clusters, and clusters inside of each


class Vectors:
    """Unit vectors with structure, the same for the same seed."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._plane = rng.standard_normal((RANK, DIM)).astype(np.float32) / DIM**0.5
        self._common = rng.standard_normal(DIM).astype(np.float32) * (0.5 / DIM**0.5)
        topics = rng.standard_normal((TOPICS, 1, RANK))
        sorts = 0.6 * rng.standard_normal((TOPICS, SORTS, RANK))
        self._centres = (topics + sorts).reshape(-1, RANK).astype(np.float32)
        # Some sorts of sounds are common, most are rare.
        weights = 1 / np.arange(1, len(self._centres) + 1)
        self._weights = rng.permutation(weights / weights.sum())

    def draw(self, count: int, seed: int) -> np.ndarray:
        """float32 ``[count, dim]`` of unit norm."""
        rng = np.random.default_rng([7, seed])
        at = rng.choice(len(self._centres), count, p=self._weights)
        inner = self._centres[at] + 0.35 * rng.standard_normal((count, RANK), np.float32)
        rows = inner @ self._plane / RANK**0.5 + self._common
        rows += rng.standard_normal((count, DIM), np.float32) * (0.2 / DIM**0.5)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def blocks(count: int) -> Iterator[np.ndarray]:
    """So many vectors, as many at a time as a part has."""
    vectors = Vectors()
    for first in range(0, count, parts.ROWS):
        yield vectors.draw(min(parts.ROWS, count - first), first)


def queries(count: int) -> np.ndarray:
    """Vectors near those of the library, as those of a text or of another recording are."""
    found = Vectors().draw(count, 1 << 30)
    noise = np.random.default_rng(3).standard_normal(found.shape).astype(np.float32)
    found += 0.4 * noise / DIM**0.5
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def path(row: int) -> str:
    """Of a recording, by its number."""
    return f"/recordings/{row // 1000:06d}/{row:09d}.flac"


def write(out: Path, count: int, store: Any) -> None:
    """A library of generated vectors."""
    model = Model("nowhere", "generated", "fp32", "0" * 64)
    said = Description(
        FORMAT, FORMAT_VERSION, "generated", "generated", DIM, store, False, Policy("default"),
        model, {},
    )  # fmt: skip
    (out / columns.RECORDINGS).mkdir(parents=True)
    (out / description.LIBRARY).write_text(description.text(said))
    schema = columns.recordings(store, DIM)
    first = 0
    for number, vectors in enumerate(blocks(count), 1):
        numbers, scales = stored(vectors, store)
        names = map(path, range(first, first + len(vectors)))
        cells = [
            {"path": name, "vanished": False, "duration": 1.0 + i % 60, "rate": 44100,
             "channels": 2, "windows": 1, "size": 10**6, "mtime_ns": i, "sha256": f"{i:064x}"}
            for i, name in enumerate(names, first)
        ]  # fmt: skip
        content = parts.Content(
            parts.table(cells, schema), np.ones(len(vectors), bool), numbers, scales
        )
        file = out / columns.RECORDINGS / parts.name(number)
        parts.save(file, columns.RECORDINGS, content, said)
        first += len(vectors)
