"""Search in a library of recordings, by words and by sounds."""

from __future__ import annotations

import heapq
import math
import threading
from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from runtime.arguments import number, shown, whole
from runtime.bundle import Bundle
from runtime.encoder import Encoder
from runtime.errors import ClapError
from runtime.library import columns, condition, description
from runtime.library.columns import RECORDINGS, WINDOWS
from runtime.library.description import LibraryError
from runtime.library.index.document import INDEX
from runtime.library.index.opened import Index, Unusable
from runtime.library.part import Block, Damaged, Part
from runtime.library.query import Query
from runtime.library.ranking import Ranking, chosen
from runtime.library.values import Values

if TYPE_CHECKING:
    from runtime.library.description import Description
    from runtime.library.query import Sounds, Texts

Found: TypeAlias = tuple[Block, int, float]  # a block, a place in it, and its cosine
Wanted: TypeAlias = "dict[str, NDArray[np.int64]] | None"

TOP_K = 10


@dataclass(frozen=True)
class Hit:
    """A recording that was found, or a window of one.

    Attributes:
        path: of the file, or of the shard that it is in.
        member: name of the recording inside a shard; None for a file.
        similarity: cosine to the query.
        start: of the window, in seconds; 0 for a recording.
        end: of the window or of the recording, in seconds; None where its length is not known.
    """

    path: str
    member: str | None
    similarity: float
    start: float
    end: float | None


class Library:
    """A library, opened as it is now; what is written to it later needs another Library.

    Threads may share one. The encoders are loaded by the first query that needs them.

    Args:
        folder: of the library.
        bundle: that embeds queries: its folder, an opened one, or an Encoder to share; default the
            folder that the library was made with.
        providers: see :class:`runtime.Encoder`.
        threads: see :class:`runtime.Encoder`.

    Attributes:
        description: what ``library.json`` says.

    Raises:
        LibraryError: there is none, it cannot be read, or it is of another format version.
        ClapError: pyarrow is not installed.
    """

    def __init__(
        self,
        folder: str | Path,
        bundle: str | Path | Bundle | Encoder | None = None,
        *,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.description: Description = description.read(self.folder)
        self._bundle = bundle
        self._options: dict[str, Any] = {"providers": providers, "threads": threads}
        self._encoder = bundle if isinstance(bundle, Encoder) else None
        self._lock = threading.Lock()
        self._problems: dict[str, str] = {}
        self._parts: list[Part] = self._opened(RECORDINGS)
        self._windows: list[Part] = []
        self._indexes: dict[str, Index | None] = {}
        self._notes: dict[str, str] = {}
        self._values = Values()
        if self.description.each_window:
            # A part of windows alone is one whose writer was killed.
            whole_parts = {part.name for part in self._parts}
            self._windows = [p for p in self._opened(WINDOWS) if p.name in whole_parts]

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each damaged part that was met so far; the others are searched."""
        return tuple(self._problems.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for each index that is not of the library as it is now; so far as it is not,
        all rows were looked at."""
        return tuple(self._notes.values())

    def __len__(self) -> int:
        """Number of recordings that can be found."""
        return sum(len(block.rows) for block in self._blocks(self._parts))

    def search(
        self,
        text: Texts | None = None,
        *,
        like: Sounds | None = None,
        vector: object = None,
        minus: Texts | None = None,
        unlike: Sounds | None = None,
        top_k: int = TOP_K,
        where: str | None = None,
        group_by: str | None = None,
        dedupe: float | None = None,
        each_window: bool = False,
        exact: bool = False,
    ) -> list[Hit]:
        """The recordings that are nearest to a query.

        All are looked at, so that the search is exact, unless the library has an index: that names
        some hundreds, which are compared exactly.

        A query is the sum of unit vectors, scaled to unit norm again.

        Args:
            text: a text, several, or a table of texts and their weights.
            like: a recording, or several; see :func:`runtime.audio.read`.
            vector: ``[dim]``, from an encoder of the library's space.
            minus: texts that are taken away, as ``text``.
            unlike: recordings that are taken away, as ``like``.
            top_k: most hits.
            where: a condition in SQL on the columns of recordings, by DuckDB:
                ``duration < 10 AND path LIKE '%/rain/%'``. It may read nothing but the library.
            group_by: a column: of rows with the same value the best alone is given. With
                ``each_window``, a column of windows.
            dedupe: leave out what has a cosine of at least this to a better hit.
            each_window: find windows of recordings, with their times.
            exact: look at all of them, though the library has an index.

        Returns:
            hits, best first.

        Raises:
            ClapError: an argument that cannot be used, or DuckDB is missing for ``where``.
            LibraryError: the library has no windows, or the bundle is of another space.
            AudioError, BackendError, BundleError, LabelError: the query cannot be embedded.
        """
        whole("top_k", top_k)
        least = None if dedupe is None else number("dedupe", dedupe, "a cosine, such as 0.98")
        if each_window and not self.description.each_window:
            raise LibraryError(
                f"the library '{self.folder}' has no vectors of windows: make one with "
                "clap-export embed --each-window."
            )
        query = Query(text, like, vector, minus, unlike)
        parts = self._windows if each_window else self._parts
        self._check_column(group_by, parts)
        wanted = None if where is None else self._fulfilling(where, parts, each_window)
        encoder = self._opened_encoder(query) if query.reads or query.hears else None
        sought = query.embedding(self.description.dim, encoder)
        group_of = None if group_by is None else partial(self._values.of, group_by)
        choose = partial(chosen, count=top_k, group_of=group_of, dedupe=least)
        bad: set[Path] = set()  # parts that cannot say what their rows are of
        while True:
            try:
                return self._hits(each_window, sought, wanted, choose, bad, exact)
            except Damaged as error:
                if error.path in bad:
                    raise
                bad.add(error.path)
                self._problems[str(error.path)] = str(error)

    def close(self) -> None:
        """Release the encoders, unless they came from the caller; they are loaded again when
        needed."""
        with self._lock:
            if self._encoder is not None and self._encoder is not self._bundle:
                self._encoder.close()

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self, kind: str) -> list[Part]:
        found: list[Part] = []
        for name in columns.names(self.folder / kind):
            path = self.folder / kind / name
            try:
                found.append(Part(path, self.description))
            except LibraryError as error:
                self._problems[str(path)] = str(error)
        return found

    def _blocks(self, parts: Sequence[Part]) -> list[Block]:
        found: list[Block] = []
        for part in parts:
            try:
                found += part.blocks()
            except LibraryError as error:
                self._problems[str(part.path)] = str(error)
        return found

    def _fulfilling(
        self, where: str, parts: Sequence[Part], windows: bool
    ) -> dict[str, NDArray[np.int64]]:
        """Rows of parts for which a condition holds; see :func:`condition.rows`."""
        every = {id(part): part for part in (*self._parts, *parts)}.values()
        names = {part.name for part in self._parts} & {part.name for part in parts}
        try:
            return condition.rows(self.folder, sorted(names), where, windows)
        except condition.Unread:
            bad = {part.name for part in every if part.name in names and not self._is_whole(part)}
            if not bad:
                raise
            return condition.rows(self.folder, sorted(names - bad), where, windows)

    def _is_whole(self, part: Part) -> bool:
        """Whether all that a condition may ask for can be read; a part of which it cannot is
        named."""
        try:
            part.table([c for c in part.columns if c not in (columns.VECTOR, columns.SCALE)])
        except Damaged as error:
            self._problems[str(part.path)] = str(error)
            return False
        return True

    def _hits(
        self, each_window: bool, query: NDArray[np.float32], wanted: Wanted,
        choose: partial[list[Found]], bad: Set[Path], exact: bool,
    ) -> list[Hit]:  # fmt: skip
        """What is found outside of bad parts."""
        kind, parts = (WINDOWS, self._windows) if each_window else (RECORDINGS, self._parts)
        found = None
        if not exact and not bad:
            found = self._by_index(kind, query, wanted, choose)
        if found is None:
            good = [part for part in parts if part.path not in bad]
            found = choose(self._ranking(good, query, wanted))
        return [
            _hit(self._values, block, place, score, each_window) for block, place, score in found
        ]

    def _ranking(
        self, parts: Sequence[Part], query: NDArray[np.float32], wanted: Wanted
    ) -> Ranking:
        """All rows of parts."""
        ranking = Ranking(self._blocks(parts), query, wanted)
        for part in ranking.spoilt:
            self._problems[str(part.path)] = (
                f"the part '{part.path}' is damaged: it has vectors that are not finite. Remove "
                "it, and embed the same sources again."
            )
        return ranking

    def _by_index(
        self, kind: str, query: NDArray[np.float32], wanted: Wanted,
        choose: partial[list[Found]],
    ) -> list[Found] | None:  # fmt: skip
        """What is found with the index; None where it does not suffice, or there is none."""
        try:
            index = self._index(kind)
            if index is None:
                return None
            others = self._ranking(index.others, query, wanted)
            for candidates in index.rounds(query, choose.keywords["count"], wanted):
                found = choose(heapq.merge(candidates, others, key=lambda each: -each[2]))
                if not candidates.all_seen:
                    return found
        except Unusable as error:
            self._notes[kind] = str(error)
        except LibraryError:  # a damaged part, which is named by who looks at all
            pass
        return None

    def _index(self, kind: str) -> Index | None:
        """The index of recordings or of windows, opened by the first search."""
        with self._lock:
            if kind not in self._indexes:
                self._indexes[kind] = None
                if (self.folder / INDEX / kind).is_dir():
                    parts = self._windows if kind == WINDOWS else self._parts
                    self._indexes[kind] = index = Index(self.folder, kind, self.description, parts)
                    if index.note:
                        self._notes[kind] = index.note
            return self._indexes[kind]

    def _check_column(self, name: str | None, parts: Sequence[Part]) -> None:
        if name is None or not parts:
            return
        known = [c for c in parts[0].columns if c not in (columns.VECTOR, columns.SCALE)]
        if name not in known:
            raise ClapError(f"group_by={shown(name)}: pass one of {', '.join(known)}.")

    def _opened_encoder(self, query: Query) -> Encoder:
        with self._lock:
            if self._encoder is None:
                where: Any = self._bundle
                if where is None:
                    where = Path(self.description.model.bundle)
                    if not where.is_dir():
                        raise LibraryError(
                            f"the bundle of the library '{self.folder}' was '{where}', which is "
                            "not there: name it (bundle=, or --bundle)."
                        )
                self._encoder = Encoder(where, windows=self.description.policy, **self._options)
            encoder = self._encoder
        manifest, ours = encoder.manifest, self.description
        if manifest.space_id != ours.space_id:
            raise LibraryError(
                f"the library '{self.folder}' holds vectors of the model '{ours.model.name}' "
                f"(space {ours.space_id}), and the bundle is of '{manifest.name}' (space "
                f"{manifest.space_id}): name a bundle of the library's model."
            )
        if query.hears and encoder.clip_space_id != ours.clip_space_id:
            raise LibraryError(
                f"the library '{self.folder}' was made with the policy '{ours.policy.name}' (clip "
                f"space {ours.clip_space_id}), and the encoder has '{encoder.policy.name}' "
                f"({encoder.clip_space_id}): give it windows=library.description.policy."
            )
        return encoder


def _hit(values: Values, block: Block, place: int, score: float, window: bool) -> Hit:
    def value(column: str) -> Any:
        return values.of(column, block, place)

    def seconds(column: str) -> float | None:
        found = value(column)
        return None if found is None or not math.isfinite(found) else float(found)

    start = (seconds("start") or 0.0) if window else 0.0
    end = seconds("end" if window else "duration")
    return Hit(value("path"), value("member"), score, start, end)
