"""What workers do: look for recordings, decode them, embed them. Each takes and gives Arrow tables,
and each scales by itself."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import Any

from clap_export.library import hearing, sources
from clap_export.library.hearing import Kept
from clap_export.library.item import Item, check_name, opened
from clap_export.library.ray import carried, embeddings
from clap_export.library.ray.carried import Carried, Decoded
from clap_export.library.ray.cluster import BLOCK, Workers
from clap_export.library.row import Row
from runtime import pipeline
from runtime.clips.clip import Clip, Piece
from runtime.encoder import Encoder
from runtime.errors import AudioError, ClapError
from runtime.library.arrow import pyarrow
from runtime.pipeline import Schedule

PATH = sources.PATH_COLUMN
PROBLEM = "problem"
KNOWN = "known"  # SHA-256 of the bytes that a library holds the embedding of


def looked(table: Any) -> Any:
    """Paths to recordings: of a shard its members, and how each file is now.

    Args:
        table: with a column ``path``: absolute paths, which are the same on all nodes.

    Returns:
        a table with the columns of an item, and ``problem``: a sentence for a shard that cannot be
        read to its end.

    Raises:
        ClapError: there is no such column, or a path is not absolute.
    """
    if PATH not in table.column_names:
        has = ", ".join(table.column_names)
        raise ClapError(f"the dataset has no column '{PATH}'; it has {has}.")
    rows: list[dict[str, Any]] = []
    for path in table.column(PATH).to_pylist():
        if not isinstance(path, str) or not os.path.isabs(path):
            raise ClapError(f"{path!r} is no absolute path, which is the same on all nodes.")
        problems: list[str] = []
        shard = path.lower().endswith(".tar")
        for item in sources.shard(path, problems) if shard else (Item.of(path),):
            try:
                check_name(item)
            except AudioError as error:
                problems.append(str(error))
            else:
                rows.append(carried.place(item))
        rows += ({PATH: path, PROBLEM: problem} for problem in problems)
    arrow = pyarrow()
    fields = [carried.schema().field(name) for name in carried.place(Item(""))]
    return arrow.Table.from_pylist(rows, schema=arrow.schema([*fields, (PROBLEM, arrow.string())]))


def decoded(
    table: Any, encoder: Encoder, batch_size: int, most: int = BLOCK, limit: int = BLOCK
) -> Iterator[Any]:
    """Hash and decode recordings.

    Args:
        table: with the columns of an item, and ``known`` or ``problem``.
        encoder: whose windows are cut; its engine is not loaded.
        batch_size: windows that are cut at a time.
        most: bytes of windows; a recording with more is not carried.
        limit: bytes that are put together before they are handed on.

    Yields:
        tables of :class:`Carried`.
    """
    waiting: list[Carried] = []
    weight = 0
    for plain in table.to_pylist():
        item = carried.placed(plain)
        if plain.get(PROBLEM) is not None:
            each = Carried(item, None, error=plain[PROBLEM])
        else:
            each = _looked_into(item, plain.get(KNOWN), encoder, batch_size, most)
        waiting.append(each)
        weight += each.decoded.rows.nbytes if each.decoded is not None else 0
        if weight >= limit:
            yield carried.table(waiting)
            waiting, weight = [], 0
    if waiting:
        yield carried.table(waiting)


def _looked_into(
    item: Item, known: str | None, encoder: Encoder, batch_size: int, most: int
) -> Carried:
    found = opened(item)
    if found.error is not None:
        return Carried(found.item, found.sha256, error=found.error)
    if known is not None and known == found.sha256:
        return Carried(found.item, found.sha256, passed=True)
    pieces: list[Piece] = []
    weight = 0

    def clip(source: Any) -> Clip:
        return encoder.clip(source)

    for given in pipeline.decoded(found.source, clip, batch_size):
        if given.piece is not None:
            pieces.append(given.piece)
            weight += sum(4 * len(row) for row in given.piece.rows)
        end = given.ending
        if end is not None and end.error is not None:
            error = hearing.sentence(found.item, end.error)
            return Carried(found.item, found.sha256, error=error)
        if weight > most:
            return Carried(found.item, found.sha256)
        if end is not None:
            if found.changed():
                return Carried(found.item, None, error=hearing.changed(found.item))
            windows = Decoded.of(pieces, end.warning, end.facts)
            return Carried(found.item, found.sha256, windows)
    raise AssertionError("a recording without an end")


class Embedding:
    """Embeds what was decoded. An actor, which keeps the engine.

    Args:
        encoder: with the library's policy.
        each_window: keep the vectors of windows.
        batch_size: windows given to the engine at once.
        workers: of which it is one.
    """

    def __init__(
        self, encoder: Encoder, each_window: bool, batch_size: int, workers: Workers
    ) -> None:
        self._encoder, self._each_window = encoder, each_window
        self._size, self._cpus = batch_size, workers.cpus
        self._schedule: Schedule | None = None

    def __call__(self, table: Any) -> Generator[Any]:
        """A table of :class:`Carried` to one of rows, as :mod:`.embeddings` has them.

        Raises:
            BackendError: the engine failed.
            BundleError: this node has another bundle at that place.
        """
        every = list(carried.read(table))
        done = [self._untouched(each) for each in every if each.error or each.passed]
        rows = self._rows([each for each in every if not (each.error or each.passed)])
        dim = self._encoder.manifest.embedding_dim
        yield embeddings.table([*done, *((row, False) for row in rows)], dim, self._each_window)

    def _untouched(self, each: Carried) -> tuple[Row, bool]:
        return Row(each.item, each.sha256, error=each.error), each.passed

    def _rows(self, every: list[Carried]) -> Iterator[Row]:
        encoder = self._encoder

        def new_pool() -> Kept:
            return Kept(encoder, self._each_window)

        def clip(each: Any) -> Clip | Decoded:
            return each.clip(encoder)

        if not every:
            return
        stream = pipeline.embed_many(encoder, every, None, self._scheduled(), new_pool, clip)
        for each, heard in zip(every, stream, strict=True):
            if heard.pool is not None and each.changed():
                yield Row(each.item, None, error=hearing.changed(each.item))
            else:
                yield hearing.row(each.item, each.sha256, heard)

    def _scheduled(self) -> Schedule:
        if self._schedule is None:
            # Above 1 on one CPU too: that is what an engine of one thread runs.
            many = self._encoder.many_at_once > 1
            self._schedule = Schedule(self._size, self._cpus, max(2, self._cpus) if many else 1)
        return self._schedule
