"""One file of a library, opened: its columns, and its vectors where they lie in the file.

Vectors are written plain, uncompressed and in one page for a row group, so that they are the last
bytes of their column there, and can be mapped. A search over a million of them reads the file's own
pages and copies nothing. A file that another program wrote is decoded instead.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from runtime import schema
from runtime.library import columns, page
from runtime.library.arrow import parquet, pyarrow
from runtime.library.columns import METADATA, SCALE, VECTOR, WINDOWS
from runtime.library.description import LibraryError
from runtime.library.numbers import NUMBERS

if TYPE_CHECKING:
    from runtime.library.description import Description, Store

# How far the norm of a stored vector may be from 1, by the rounding of its numbers.
NORM_TOLERANCE = {"float32": 1e-3, "float16": 1e-2, "int8": 1e-3}
AGAIN = "open the library again."
ALWAYS = ("path", "vanished")  # columns that have a value in each row


class Damaged(LibraryError):
    """A part does not hold what was written; the others can be used.

    Args:
        path: of its file.
        reason: what is wrong with it.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        super().__init__(
            f"the part '{path}' is damaged ({reason}). Remove it, and embed the same sources "
            "again: its recordings are then embedded anew."
        )


@dataclass(frozen=True, eq=False)
class Block:
    """Vectors of one part that lie beside each other.

    Attributes:
        part: that they are of.
        rows: their rows in the part, int64 ``[n]``.
        vectors: ``[n, dim]``, of the library's type; not to be written to.
        scales: float32 ``[n]`` that integers are to be multiplied by, or None.
    """

    part: Part
    rows: NDArray[np.int64]
    vectors: NDArray[Any]
    scales: NDArray[np.float32] | None

    def floats(self, which: Any) -> NDArray[np.float32]:
        """Some of the vectors as float32 ``[n, dim]``."""
        found = self.vectors[which].astype(np.float32)
        return found if self.scales is None else found * self.scales[which][:, np.newaxis]


class Part:
    """Opens a part.

    Args:
        path: of the file.
        description: of the library, which the part's own must match.

    Attributes:
        name: of the file.
        count: of rows.
        columns: their names.

    Raises:
        LibraryError: it is damaged, or of another library.
    """

    def __init__(self, path: Path, description: Description) -> None:
        self.path, self.name = path, path.name
        self._store: Store = description.store
        self._dim = description.dim
        self._mark: tuple[int, ...] | None = None
        self._blocks: list[Block] | None = None
        with self._opened() as opened:
            metadata = opened.file.metadata
            said = cast("dict[bytes, bytes]", metadata.metadata or {}).get(METADATA, b"{}")
            self.count: int = metadata.num_rows
            found = opened.file.schema_arrow
            self.columns: tuple[str, ...] = tuple(found.names)
        self._check(said, description)
        wanted = columns.windows if path.parent.name == WINDOWS else columns.recordings
        if problem := columns.problem(found, wanted(self._store, self._dim)):
            raise Damaged(path, problem)

    def table(self, names: Sequence[str]) -> Any:
        """Columns as an Arrow table.

        Raises:
            LibraryError: the file is damaged.
        """
        with self._opened() as opened:
            found = opened.file.read(columns=list(names), use_threads=False)
            for name in ALWAYS:
                if name in names and found.column(name).null_count:
                    raise ValueError(f"rows have no value in its column '{name}'")
            return found

    def blocks(self) -> list[Block]:
        """The vectors of all rows that have one and are not marked as vanished.

        Raises:
            LibraryError: the file is damaged.
        """
        if self._blocks is None:
            vanished = self.table(["vanished"]).column(0).to_numpy()
            self._blocks = [_there(block, vanished) for block in self.stored()]
        return self._blocks

    def stored(self) -> list[Block]:
        """The vectors of all rows that have one.

        Raises:
            LibraryError: the file is damaged.
        """
        with self._opened() as opened:
            return list(self._found(opened))

    def fingerprint(self) -> str:
        """A hash of the vectors and of which rows have them, and of nothing else.

        It is made of the checksums that stand in the file's own pages, so that a copy of the file
        has the same, and a recording that is marked as vanished changes nothing.

        Raises:
            LibraryError: the file is damaged.
        """
        digest = hashlib.sha256(f"{self.count}".encode())
        with self._opened() as opened:
            for group in range(opened.file.metadata.num_row_groups):
                digest.update(_summed(opened.source, _column(opened, group)))
        return digest.hexdigest()

    def _found(self, opened: _Opened) -> Iterator[Block]:
        first = 0
        names = [name for name in ("vanished", "error", SCALE) if name in self.columns]
        for group in range(opened.file.metadata.num_row_groups):
            table = opened.file.read_row_group(group, columns=names, use_threads=False)
            count = table.num_rows
            has = np.ones(count, bool)
            if "error" in names:
                has = table.column("error").is_null().to_numpy()
            vectors = self._mapped(opened, group, int(has.sum()))
            if vectors is None:
                vectors = self._decoded(opened, group)
            scales = None
            if SCALE in names:
                scales = table.column(SCALE).to_numpy()[has].astype(np.float32)
            if len(vectors) != has.sum() or not self._are_unit(vectors, scales):
                raise ValueError(
                    f"its vectors are not what was written: {len(vectors)} in {int(has.sum())} rows"
                )
            yield Block(self, first + np.flatnonzero(has), vectors, scales)
            first += count

    def _mapped(self, opened: _Opened, group: int, count: int) -> NDArray[Any] | None:
        """Vectors ``[count, dim]`` in the file; None where they do not lie there in one piece."""
        column = _column(opened, group)
        numbers = np.dtype(NUMBERS[self._store])
        size = count * self._dim * numbers.itemsize
        end = column.data_page_offset + column.total_compressed_size
        plain = "PLAIN" in column.encodings and column.dictionary_page_offset is None
        if column.compression != "UNCOMPRESSED" or not plain or size > column.total_compressed_size:
            return None
        if not count:
            return np.empty((0, self._dim), numbers)
        opened.source.seek(end - size)
        values: Any = np.frombuffer(opened.source.read_buffer(size), numbers)
        found = values.reshape(count, self._dim)
        # In several pages there would be headers between the vectors, which shift those behind.
        return found if self._store == "int8" or self._are_unit(found, None) else None

    def _decoded(self, opened: _Opened, group: int) -> NDArray[Any]:
        column = opened.file.read_row_group(group, columns=[VECTOR]).column(0).combine_chunks()
        if self._store == "int8":
            joined = b"".join(cast("list[bytes]", column.drop_null().to_pylist()))
            whole: Any = np.frombuffer(joined, np.int8)
            return whole.reshape(-1, self._dim)
        return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, self._dim)

    def _are_unit(self, vectors: NDArray[Any], scales: NDArray[np.float32] | None) -> bool:
        """Whether the first and the last vector are of unit norm."""
        if not len(vectors):
            return True
        ends = vectors[[0, -1]].astype(np.float64)
        if scales is not None:
            ends = ends * scales[[0, -1]][:, np.newaxis]
        with np.errstate(over="ignore", invalid="ignore"):
            off = np.abs(np.linalg.norm(ends, axis=1) - 1)
        return bool((off < NORM_TOLERANCE[self._store]).all())

    def _check(self, said: bytes, description: Description) -> None:
        try:
            table = schema.read_json(said, str(self.path), LibraryError)
            own = table["clip_space_id"], table["store"], table["dim"]
        except (LibraryError, LookupError, TypeError) as error:
            raise LibraryError(f"'{self.path}' is not a part of a library.") from error
        if own != (description.clip_space_id, description.store, description.dim):
            space, store = map(schema.shown, own[:2])
            raise LibraryError(
                f"'{self.path}' is of another library: its vectors are {store} of the clip space "
                f"{space}, this library's '{description.store}' of '{description.clip_space_id}'."
            )

    @contextmanager
    def _opened(self) -> Generator[_Opened]:
        """The file, for the length of a block; what is mapped of it outlives that.

        A library may have more parts than a process may have open files, and readers of Parquet are
        not for several threads.
        """
        arrow = pyarrow()
        try:
            with arrow.memory_map(str(self.path)) as source:
                file = parquet().ParquetFile(source, page_checksum_verification=True)
                self.check_same()
                yield _Opened(source, file)
        except (OSError, arrow.ArrowException, ValueError, KeyError) as error:
            reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
            raise Damaged(self.path, reason.rstrip(".")) from error

    def check_same(self) -> None:
        """See that the file is the one that was opened.

        Raises:
            LibraryError: it was written again.
        """
        try:
            found = os.stat(self.path)
        except OSError as error:
            raise LibraryError(f"the part '{self.path}' is gone: {AGAIN}") from error
        mark = found.st_ino, found.st_size, found.st_mtime_ns
        self._mark = self._mark or mark
        if mark != self._mark:
            raise LibraryError(
                f"the part '{self.path}' was written again since the library was opened: {AGAIN}"
            )


@dataclass(frozen=True)
class _Opened:
    """An open file: pyarrow's memory map of it, and the reader of Parquet."""

    source: Any
    file: Any


def _column(opened: _Opened, group: int) -> Any:
    """What is said of the vectors' column in a row group."""
    found = opened.file.metadata.row_group(group)
    every = (found.column(i) for i in range(found.num_columns))
    return next(c for c in every if c.path_in_schema.partition(".")[0] == VECTOR)


def _summed(source: Any, column: Any) -> bytes:
    """Bytes that differ when a column's do: the checksum of its page and what lies around that, or
    all of it where there is no checksum, or more than a page."""
    start = column.dictionary_page_offset or column.data_page_offset
    size = column.total_compressed_size
    source.seek(start)
    found = page.checksum(source.read(min(size, page.MOST_HEADER)))
    if found is None or not 0 <= size - found[0] <= page.MOST_HEADER:
        source.seek(start)
        return hashlib.sha256(source.read_buffer(size)).digest()
    covered, crc = found
    around = b""
    for at in (start, start + covered):
        source.seek(at)
        around += source.read(size - covered)
    return around + f"{size} {crc}".encode()


def _there(block: Block, vanished: NDArray[np.bool_]) -> Block:
    """A block without the rows that are marked; where none is, nothing is copied."""
    here = ~vanished[block.rows]
    if here.all():
        return block
    scales = None if block.scales is None else block.scales[here]
    return Block(block.part, block.rows[here], block.vectors[here], scales)
