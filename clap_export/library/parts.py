"""Parts are written here: new ones of rows, and old ones again without or with other rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clap_export.library.row import Row
from runtime import files
from runtime.library import columns, description
from runtime.library.arrow import parquet, pyarrow
from runtime.library.columns import METADATA, RECORDINGS, SCALE, VECTOR, WINDOWS
from runtime.library.description import Description, LibraryError
from runtime.library.numbers import NUMBERS, stored
from runtime.library.part import Part

ROWS = 8192  # of a row group, and of a part when it is full
ONE_PAGE = 1 << 30  # bytes: more than a row group has, so that its vectors lie in one piece
LEVEL = 3  # of zstd, for all but the vectors, which do not get smaller


@dataclass(frozen=True, eq=False)
class Content:
    """What a part holds.

    Attributes:
        table: Arrow table of all columns but the vectors.
        has: rows that have a vector, bool ``[rows]``.
        vectors: theirs, of the library's type.
        scales: float32, that integers are multiplied by.
    """

    table: Any
    has: NDArray[np.bool_]
    vectors: NDArray[Any]
    scales: NDArray[np.float32]

    def only(self, rows: NDArray[np.bool_]) -> Content:
        """Some of the rows."""
        kept = rows[self.has]
        table = self.table.filter(pyarrow().array(rows))
        return Content(table, self.has[rows], self.vectors[kept], self.scales[kept])


def name(number: int) -> str:
    """Of a part's file."""
    return f"part-{number:08d}.parquet"


def write(folder: Path, number: int, rows: Sequence[Row], said: Description) -> None:
    """Write a part of rows, its windows first: a part that is there is whole.

    Args:
        folder: of the library.
        number: of the part.
        rows: at least one.
        said: of the library, with the model that made the rows.

    Raises:
        LibraryError: it cannot be written.
    """
    if said.each_window:
        save(folder / WINDOWS / name(number), WINDOWS, _windows(rows, said), said)
    save(folder / RECORDINGS / name(number), RECORDINGS, _recordings(rows, said), said)


def amend(
    folder: Path, part: Part, said: Description, change: Callable[[Any], tuple[Any, NDArray[Any]]]
) -> None:
    """Write a part again, in its place.

    Args:
        folder: of the library.
        part: of recordings, opened.
        said: of the library.
        change: from the table of a part to the same with other values, and which of its rows stay,
            bool ``[rows]``. Also called with the table of its windows.

    Raises:
        LibraryError: it cannot be read or written.
    """
    windows = folder / WINDOWS / part.name
    if said.each_window:
        save(windows, WINDOWS, _changed(Part(windows, said), said, change), said)
    left = _changed(part, said, change)
    if len(left.has):
        save(part.path, RECORDINGS, left, said)
        return
    # In this order: windows without recordings are nothing, and are removed when they are met.
    remove(part.path)
    remove(windows)


def _changed(
    part: Part, said: Description, change: Callable[[Any], tuple[Any, NDArray[Any]]]
) -> Content:
    content = read(part, said)
    table, stay = change(content.table)
    return Content(table, content.has, content.vectors, content.scales).only(stay)


def remove(path: Path) -> None:
    """Remove a part, if it is there.

    Raises:
        LibraryError: it cannot be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise LibraryError(f"'{path}' cannot be removed: {error.strerror}.") from error


def read(part: Part, said: Description) -> Content:
    """All of a part.

    Raises:
        LibraryError: it is damaged.
    """
    table = part.table([c for c in part.columns if c not in (VECTOR, SCALE)])
    blocks = part.stored()
    has = np.zeros(part.count, bool)
    for block in blocks:
        has[block.rows] = True
    empty = np.empty((0, said.dim), NUMBERS[said.store])
    scales = [np.ones(len(b.rows), np.float32) if b.scales is None else b.scales for b in blocks]
    return Content(
        table, has, np.concatenate([empty, *(block.vectors for block in blocks)]),
        np.concatenate([np.empty(0, np.float32), *scales]),
    )  # fmt: skip


def _recordings(rows: Sequence[Row], said: Description) -> Content:
    schema = columns.recordings(said.store, said.dim)
    cells = table((row.cells() for row in rows), schema)
    vectors = [row.embedding for row in rows if row.embedding is not None]
    has = np.array([row.embedding is not None for row in rows])
    return _content(cells, has, vectors, said)


def _windows(rows: Sequence[Row], said: Description) -> Content:
    schema = columns.windows(said.store, said.dim)
    cells: list[dict[str, Any]] = []
    vectors: list[NDArray[np.float32]] = []
    for row in rows:
        if row.windows is not None:
            path, member = row.key
            times = zip(row.windows.starts.tolist(), row.windows.ends.tolist(), strict=True)
            cells += (
                {"path": path, "member": member, "start": s, "end": e, "vanished": False}
                for s, e in times
            )
            vectors.extend(row.windows.vectors)
    return _content(table(cells, schema), np.ones(len(cells), bool), vectors, said)


def table(cells: Iterable[dict[str, Any]], schema: Any) -> Any:
    """An Arrow table of rows, of all columns but the vectors."""
    arrow = pyarrow()
    named = arrow.schema([field for field in schema if field.name not in (VECTOR, SCALE)])
    return arrow.Table.from_pylist(list(cells), schema=named)


def _content(
    table: Any, has: NDArray[np.bool_], vectors: Sequence[NDArray[np.float32]], said: Description
) -> Content:
    empty = np.empty((0, said.dim), np.float32)
    numbers, scales = stored(np.stack(vectors) if vectors else empty, said.store)
    return Content(table, has, numbers, scales)


def save(path: Path, kind: str, content: Content, said: Description) -> None:
    """Write a part's file.

    Args:
        path: of it.
        kind: recordings or windows, by the name of their folder.
        content: of the part.
        said: of the library.

    Raises:
        LibraryError: it cannot be written.
    """
    of = columns.recordings if kind == RECORDINGS else columns.windows
    schema = of(said.store, said.dim).with_metadata({METADATA: description.text(said).encode()})
    table = content.table
    for column, values in _vectors(content, said).items():
        table = table.append_column(schema.field(column), values)
    table = table.select(schema.names).cast(schema)
    plain = {VECTOR: "NONE", f"{VECTOR}.list.element": "NONE"}
    texts = [c for c in ("member", "warning", "error") if c in schema.names]
    others = [c for c in schema.names if c != VECTOR]
    with files.writing(path, error=LibraryError) as part:
        parquet().write_table(
            table, part, row_group_size=ROWS, data_page_size=ONE_PAGE, use_dictionary=texts,
            compression={**dict.fromkeys(others, "ZSTD"), **plain},
            compression_level=dict.fromkeys(others, LEVEL), write_statistics=others,
            write_page_checksum=True,
        )  # fmt: skip


def _vectors(content: Content, said: Description) -> dict[str, Any]:
    """The columns of the vectors, with nothing in rows that have none."""
    arrow = pyarrow()
    count, has = len(content.has), content.has
    if said.store != "int8":
        starts = np.concatenate([[0], np.cumsum(has)]) * said.dim
        # A list without a start is none; the last start is the end of all.
        offsets = arrow.array(starts.astype(np.int32), mask=np.append(~has, False))
        values = arrow.array(content.vectors.ravel())
        return {VECTOR: arrow.ListArray.from_arrays(offsets, values)}
    every = np.zeros((count, said.dim), content.vectors.dtype)
    every[has] = content.vectors
    valid = arrow.py_buffer(np.packbits(has, bitorder="little").tobytes())
    whole = arrow.Array.from_buffers(
        arrow.binary(said.dim), count, [valid, arrow.py_buffer(every.tobytes())]
    )
    scales = np.zeros(count, np.float32)
    scales[has] = content.scales
    return {VECTOR: whole, SCALE: arrow.array(scales, mask=~has)}
