"""Timelines as a Parquet file, by pyarrow: a row for each window and label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from clap_export.timelines.timeline import Timeline
from runtime.errors import ClapError

ROWS = 1 << 14  # held at a time, and of a row group
SUFFIX = ".parquet"


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


def write(timelines: Iterable[Timeline], path: Path) -> None:
    """Write the windows of one or several recordings.

    Args:
        timelines: of them.
        path: of a file to write; see :func:`runtime.files.writing` for how it gets its place.

    Raises:
        ClapError: pyarrow is not installed.
        OSError: it cannot be written.
    """
    arrow = pyarrow()
    text, number = arrow.string(), arrow.float64()
    schema = arrow.schema(
        [("file", text), ("start", number), ("end", number), ("label", text),
         ("rank", arrow.int32()), ("score", number), ("similarity", number)]
    )  # fmt: skip
    with arrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for rows in _groups(_rows(timelines)):
            columns = [
                arrow.array(values, field.type)
                for values, field in zip(zip(*rows, strict=True), schema, strict=True)
            ]
            writer.write_table(arrow.Table.from_arrays(columns, schema=schema))


def _rows(timelines: Iterable[Timeline]) -> Iterator[tuple[object, ...]]:
    for timeline in timelines:
        # Of a name that is no text its bytes are escaped, as Python shows them.
        file = timeline.file.encode("utf-8", "backslashreplace").decode()
        for segment in timeline:
            for rank, p in enumerate(segment.predictions, 1):
                yield file, segment.start, segment.end, p.label, rank, p.score, p.similarity


def _groups(rows: Iterable[tuple[object, ...]]) -> Iterator[list[tuple[object, ...]]]:
    group: list[tuple[object, ...]] = []
    for row in rows:
        group.append(row)
        if len(group) == ROWS:
            yield group
            group = []
    if group:
        yield group
