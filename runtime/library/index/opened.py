"""The index of a library, if it has one that still is of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ClapError
from runtime.library.description import LibraryError
from runtime.library.index import document, engines
from runtime.library.index.candidates import Candidates, Places
from runtime.library.index.document import INDEX
from runtime.library.part import Part

if TYPE_CHECKING:
    from runtime.library.description import Description

LEAST = 100  # candidates that are asked for
OVER = 10  # candidates for each row that is wanted, as some of the nearest are found too late
MORE = 8  # times as many when they do not suffice
MOST = 20_000  # candidates, and a twentieth of all: more are found sooner by looking at all
SHARE = 0.05


class Unusable(LibraryError):
    """An index cannot be used, and all rows are looked at.

    Args:
        index: folder of it.
        reason: a sentence.
    """

    def __init__(self, index: Path, reason: str) -> None:
        super().__init__(f"the index '{index}' is not used: {reason}")


class Index:
    """An index, as far as it knows the parts of a library.

    Args:
        library: folder of the library.
        kind: recordings or windows, by the name of their folder.
        said: of the library.
        parts: of the library, opened.

    Attributes:
        others: parts that it does not know as they are now.
        vectors: that it has.
        note: what is to be said of it; empty where it is of the whole library.

    Raises:
        Unusable: for the reason that it gives.
    """

    def __init__(self, library: Path, kind: str, said: Description, parts: Sequence[Part]) -> None:
        self._folder = folder = library / INDEX / kind
        self._again = f"Make it anew: clap-export index {library}"
        try:
            found = document.read(folder)
        except ClapError as error:
            raise self._unusable(str(error)) from error
        if (found.clip_space_id, found.dim) != (said.clip_space_id, said.dim):
            raise self._unusable(
                f"it is of the clip space {found.clip_space_id} with {found.dim} numbers, and the "
                f"library of {said.clip_space_id} with {said.dim}."
            )
        by_name = {part.name: part for part in parts}
        known = [by_name.get(part.name) for part in found.parts]
        same = tuple(
            part if part is not None and _is(part, was) else None
            for part, was in zip(known, found.parts, strict=True)
        )
        covered = {part.name for part in same if part is not None}
        self.others = [part for part in parts if part.name not in covered]
        if not covered:
            raise self._unusable("it knows none of the parts that the library has now.")
        self.vectors = found.vectors
        self.note = ""
        if self.others:
            self.note = (
                f"the index '{folder}' does not know {len(self.others):,} of the {len(parts):,} "
                f"parts as they are now; in these all rows are looked at. {self._again}"
            )
        starts = np.cumsum([0, *(part.rows for part in found.parts)], dtype=np.int64)
        self._places = Places(starts, same)
        try:
            self._engine = engines.opened(found.engine, folder)
        except ClapError as error:
            raise Unusable(folder, str(error)) from error
        except Exception as error:  # whatever an engine raises
            reason = f"{found.engine} cannot open it ({_reason(error)})."
            raise self._unusable(reason) from error

    def rounds(
        self, query: NDArray[np.float32], top_k: int, wanted: Mapping[str, NDArray[np.int64]] | None
    ) -> Iterator[Candidates]:
        """Candidates, each time more of them, until it is quicker to look at all rows.

        Args:
            query: float32 ``[dim]`` of unit norm.
            top_k: rows that are to be found.
            wanted: rows that may be found, by the names of their parts; None for all.

        Raises:
            Unusable: the engine failed.
            LibraryError: a part is damaged.
        """
        count = max(LEAST, OVER * top_k)
        if wanted is not None:
            rows = sum(map(len, wanted.values()))
            count = int(count * max(1.0, self.vectors / max(rows, 1)))
        while count <= min(MOST, max(LEAST, SHARE * self.vectors)):
            try:
                numbers = self._engine.nearest(query, count)
            except Exception as error:  # whatever an engine raises
                reason = f"it cannot be searched ({_reason(error)})."
                raise self._unusable(reason) from error
            yield Candidates(self._places.rows(numbers), query, wanted)
            count *= MORE

    def _unusable(self, reason: str) -> Unusable:
        return Unusable(self._folder, f"{reason} {self._again}")


def _is(part: Part, was: document.Covered) -> bool:
    """Whether a part is as it was; a damaged one is met again, and named, by who reads it."""
    try:
        return part.count == was.rows and part.fingerprint() == was.fingerprint
    except LibraryError:
        return False


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
