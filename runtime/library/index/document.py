"""What an index says of itself: ``index.json``, read strictly; docs/library.md describes it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, cast

from runtime import files, schema
from runtime.audio_spec import Count
from runtime.library.description import LibraryError
from runtime.schema import Text, Within

FORMAT = "clap-export-library-index"
FORMAT_VERSION = 1
INDEX = "index"  # folder in a library, which has one for recordings and one for windows
DOCUMENT = "index.json"
MOST_BYTES = 64 << 20  # of a library of some hundred thousand parts

Engine = Literal["usearch", "lancedb"]


@dataclass(frozen=True)
class Covered:
    """A part as it was when it was indexed.

    Attributes:
        name: of its file.
        rows: in it.
        fingerprint: of its vectors; see :meth:`runtime.library.part.Part.fingerprint`.
    """

    name: Annotated[str, Text(255)]
    rows: Annotated[int, Within(0, 1 << 62)]
    fingerprint: Annotated[str, Text(64)]


@dataclass(frozen=True)
class Document:
    """Everything a reader must know.

    Attributes:
        engine: that made it, and reads it.
        clip_space_id: of the library.
        dim: length of a vector.
        vectors: how many it has.
        parts: a vector's number is its row, counted on through the parts in this order.
        tools: versions of what made it.
    """

    format: str
    format_version: int
    engine: Engine
    clip_space_id: Annotated[str, Text(255)]
    dim: Count
    vectors: Annotated[int, Within(1, 1 << 62)]
    parts: tuple[Covered, ...]
    tools: dict[Annotated[str, Text(255)], Annotated[str, Text(255)]]


def read(folder: Path) -> Document:
    """Read and check ``index.json``.

    Raises:
        LibraryError: there is none, it is no index's, or of another format version.
        SchemaError: keys that do not fit.
    """
    path = folder / DOCUMENT
    found = schema.read_json(files.read(path, most=MOST_BYTES, error=LibraryError), str(path))
    table = cast("dict[str, object]", found if isinstance(found, dict) else {})
    if table.get("format") != FORMAT:
        raise LibraryError(f"'{path}' is not that of an index ('format' differs).")
    document = schema.read(Document, table, str(path))
    if document.format_version != FORMAT_VERSION:
        raise LibraryError(
            f"the index '{folder}' has format_version {document.format_version}; this clap-export "
            f"reads {FORMAT_VERSION}."
        )
    return document


def text(document: Document) -> str:
    """The document."""
    return json.dumps(schema.to_plain(document), indent=1) + "\n"
