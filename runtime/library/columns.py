"""The columns of a library's parts; docs/library.md describes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.library.arrow import pyarrow

if TYPE_CHECKING:
    from runtime.library.description import Store

RECORDINGS, WINDOWS = "parts", "windows"  # folders of a library
NAME = re.compile(r"part-[0-9]{8}\.parquet")
VECTOR, SCALE = "embedding", "scale"
# What a part says of itself in its Parquet metadata: the JSON of the library's description.
METADATA = b"clap-export-library"


def names(folder: Path) -> list[str]:
    """Of the parts in a folder of them, in order."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if NAME.fullmatch(path.name))


def recordings(store: Store, dim: int) -> Any:
    """Arrow schema of the recordings' parts: a row for each recording."""
    arrow = pyarrow()
    text, whole = arrow.string(), arrow.int64()
    return arrow.schema(
        [
            arrow.field("path", text, nullable=False), ("member", text), ("size", whole),
            ("mtime_ns", whole), ("sha256", text), ("duration", arrow.float64()),
            ("rate", arrow.int32()), ("channels", arrow.int32()), ("windows", arrow.int32()),
            arrow.field("vanished", arrow.bool_(), nullable=False),
            ("warning", text), ("error", text), *_vector(store, dim),
        ]
    )  # fmt: skip


def windows(store: Store, dim: int) -> Any:
    """Arrow schema of the windows' parts: a row for each window of the recordings in the part of
    the same name."""
    arrow = pyarrow()
    seconds = arrow.float64()
    return arrow.schema(
        [
            arrow.field("path", arrow.string(), nullable=False), ("member", arrow.string()),
            ("start", seconds), ("end", seconds),
            arrow.field("vanished", arrow.bool_(), nullable=False), *_vector(store, dim),
        ]
    )  # fmt: skip


def problem(found: Any, wanted: Any) -> str | None:
    """What is wrong with the columns of a part, if anything. Other programs have kinds of their own
    for the same things, and may add columns.

    Args:
        found: Arrow schema of a part.
        wanted: as it is written here.
    """
    for field in wanted:
        count = found.names.count(field.name)
        if count != 1:
            return f"it has {count or 'no'} column{'s' * (count > 1)} '{field.name}'"
        kind, ours = _kind(found.field(field.name).type), _kind(field.type)
        # Of a column without a value pandas knows no kind.
        if kind != ours and not (field.nullable and kind == "nothing"):
            return f"its column '{field.name}' holds {kind}, not {ours}"
    return None


def _kind(given: Any) -> str:
    """What a column holds, in a word."""
    types = pyarrow().types
    if types.is_dictionary(given):
        return _kind(given.value_type)
    if types.is_list(given) or types.is_large_list(given) or types.is_fixed_size_list(given):
        return f"lists of {_kind(given.value_type)}"
    for word, tests in {
        "texts": (types.is_string, types.is_large_string, types.is_string_view),
        "numbers": (types.is_integer, types.is_floating),
        "booleans": (types.is_boolean,),
        "bytes": (types.is_binary, types.is_large_binary, types.is_fixed_size_binary),
        "nothing": (types.is_null,),
    }.items():
        if any(test(given) for test in tests):
            return word
    return str(given)[:80]


def _vector(store: Store, dim: int) -> list[Any]:
    arrow = pyarrow()
    if store == "int8":
        # Parquet has no integers of one byte: a list of them would take four in memory and could
        # not be mapped.
        return [(VECTOR, arrow.binary(dim)), (SCALE, arrow.float32())]
    # Parquet has one kind of list. Arrow's of a fixed size would be the same in the file, but with
    # rows that have none only the latest releases of pyarrow read it.
    return [(VECTOR, arrow.list_(arrow.float32() if store == "float32" else arrow.float16()))]
