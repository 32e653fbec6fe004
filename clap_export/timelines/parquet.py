"""Timelines as a Parquet file, by pyarrow: a row for each window and label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from clap_export.timelines.timeline import Timeline
from runtime import Segment
from runtime.errors import ClapError

ROWS = 1 << 14  # held at a time, and of a row group
SUFFIX = ".parquet"
WINDOWS = {
    "file": "text", "start": "number", "end": "number", "label": "text", "rank": "count",
    "score": "number", "similarity": "number",
}  # fmt: skip


def pyarrow() -> Any:
    """The library.

    Raises:
        ClapError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ClapError(
            f"Parquet needs pyarrow, which cannot be imported ({error}). "
            "Install it: pip install pyarrow; or choose --format csv."
        ) from error
    return pyarrow


class Table:
    """Writes rows in groups, so that memory does not grow. To be used in a ``with`` block, whose
    end makes it a whole file.

    Args:
        path: of a file to write; see :func:`runtime.files.writing` for how it gets its place.
        columns: names, and the name of each one's type in Arrow.

    Raises:
        ClapError: pyarrow is not installed.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, columns: Mapping[str, str]) -> None:
        self._arrow = pyarrow()
        types = {
            "text": self._arrow.string(), "number": self._arrow.float64(),
            "count": self._arrow.int32(), "time": self._arrow.timestamp("ms", tz="UTC"),
        }  # fmt: skip
        self._schema = self._arrow.schema([(name, types[kind]) for name, kind in columns.items()])
        self._writer = self._arrow.parquet.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[tuple[object, ...]] = []

    def add(self, row: tuple[object, ...]) -> None:
        """Add a row, with a value for each column."""
        self._rows.append(row)
        if len(self._rows) == ROWS:
            self._flush()

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._flush()
        finally:
            self._writer.close()

    def _flush(self) -> None:
        if not self._rows:
            return
        rows, self._rows = self._rows, []
        columns = [
            self._arrow.array(values, field.type)
            for values, field in zip(zip(*rows, strict=True), self._schema, strict=True)
        ]
        self._writer.write_table(self._arrow.Table.from_arrays(columns, schema=self._schema))


def write(timelines: Iterable[Timeline], path: Path) -> None:
    """Write the windows of one or several recordings.

    Args:
        timelines: of them.
        path: of a file to write.

    Raises:
        ClapError: pyarrow is not installed.
        OSError: it cannot be written.
    """
    with Table(path, WINDOWS) as table:
        for timeline in timelines:
            for segment in timeline:
                for row in rows(timeline.file, segment):
                    table.add(row)


def rows(file: str, segment: Segment) -> Iterator[tuple[object, ...]]:
    """The rows of a window."""
    # Of a name that is no text its bytes are escaped, as Python shows them.
    name = file.encode("utf-8", "backslashreplace").decode()
    for rank, p in enumerate(segment.predictions, 1):
        yield name, segment.start, segment.end, p.label, rank, p.score, p.similarity
