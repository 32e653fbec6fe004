"""The vectors of a library, part by part, with what is known of their recordings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clap_export.library.item import Key
from runtime.library import columns, description
from runtime.library.arrow import pyarrow
from runtime.library.columns import RECORDINGS
from runtime.library.description import LibraryError
from runtime.library.part import Part

ROWS = 4096  # brought to float32 at a time: 8 MiB of 512 dimensions


@dataclass(frozen=True, eq=False)
class Stretch:
    """Recordings that lie beside each other and have a vector.

    Attributes:
        table: Arrow table of the columns that were asked for, a row for each.
        vectors: float32 ``[n, dim]`` of unit norm.
    """

    table: Any
    vectors: NDArray[np.float32]

    @property
    def keys(self) -> list[Key]:
        """Path and member of each; both columns must have been asked for."""
        both = (self.table.column(name).to_pylist() for name in ("path", "member"))
        return list(zip(*both, strict=True))

    def only(self, first: int, count: int) -> Stretch:
        """Some of them, that lie beside each other."""
        return Stretch(self.table.slice(first, count), self.vectors[first : first + count])


class Vectors:
    """Reads a library as it is now.

    Args:
        folder: of the library.

    Attributes:
        description: of the library.
        problems: a sentence for each part that is damaged and was passed over.

    Raises:
        LibraryError: there is none, or it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.description = description.read(folder)
        self.problems: list[str] = []
        self._parts: list[Part] = []
        for name in columns.names(folder / RECORDINGS):
            try:
                self._parts.append(Part(folder / RECORDINGS / name, self.description))
            except LibraryError as error:
                self._note(str(error))

    def stretches(self, wanted: Sequence[str]) -> Iterator[Stretch]:
        """All recordings that have a vector and are not marked as vanished.

        Args:
            wanted: columns.
        """
        for part in self._parts:
            try:
                blocks, table = part.blocks(), part.table(wanted)
            except LibraryError as error:
                self._note(str(error))
                continue
            for block in blocks:
                for start in range(0, len(block.rows), ROWS):
                    some = slice(start, start + ROWS)
                    vectors = block.floats(some)
                    if not np.isfinite(vectors).all():
                        self._note(
                            f"the part '{part.path}' is damaged: it has vectors that are not "
                            "finite. Remove it, and embed the same sources again."
                        )
                        break
                    rows = pyarrow().array(block.rows[some])
                    yield Stretch(table.take(rows), vectors)

    def keys(self) -> Iterator[Key]:
        """Path and member of every recording that has a vector."""
        for stretch in self.stretches(("path", "member")):
            yield from stretch.keys

    def _note(self, problem: str) -> None:
        """The library may be read more than once."""
        if problem not in self.problems:
            self.problems.append(problem)
