"""What a library says of itself: ``library.json``, read strictly."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, cast

from runtime import files, schema
from runtime.audio_spec import Count
from runtime.clips.policy import Policy
from runtime.errors import ClapError
from runtime.schema import Text

FORMAT = "clap-export-library"
FORMAT_VERSION = 1
LIBRARY = "library.json"
MOST_BYTES = 1 << 20

Store = Literal["float32", "float16", "int8"]
PLACE = Text(4096)  # what the name of a folder may be


class LibraryError(ClapError):
    """A library is missing, damaged, of another version, or of another embedding space."""


@dataclass(frozen=True)
class Model:
    """The bundle that a library was begun with.

    Attributes:
        bundle: its folder, where queries are embedded unless another is named.
        name: of its model.
        precision: of its audio graph.
        audio_sha256: of its audio graph's file.
    """

    bundle: Annotated[str, PLACE]
    name: Annotated[str, Text(255)]
    precision: Annotated[str, Text(16)]
    audio_sha256: Annotated[str, Text(64)]


@dataclass(frozen=True)
class Description:
    """Everything a reader must know; docs/library.md is the specification.

    Attributes:
        space_id: of the model: texts of another do not match.
        clip_space_id: of the model and the policy: recordings' vectors of another do not match.
        dim: length of an embedding.
        store: type of the numbers in the parts.
        each_window: windows have vectors of their own, in parts beside the recordings'.
        policy: how a recording became windows, and their embeddings one.
        model: that the library was begun with.
        tools: versions of what made it.
    """

    format: str
    format_version: int
    space_id: Annotated[str, Text(255)]
    clip_space_id: Annotated[str, Text(255)]
    dim: Count
    store: Store
    each_window: bool
    policy: Policy
    model: Model
    tools: dict[Annotated[str, Text(255)], Annotated[str, Text(255)]]


def read(folder: Path) -> Description:
    """Read and check ``library.json``.

    Raises:
        LibraryError: there is none, it is no library's, or of another format version.
        SchemaError: keys that do not fit.
    """
    if os.path.isfile(folder):
        raise LibraryError(f"'{folder}' is a file: a library is a folder with a {LIBRARY}.")
    data = files.read(
        folder / LIBRARY, most=MOST_BYTES, error=LibraryError,
        missing=f"no library at '{folder}': {LIBRARY} was not found there. "
        "Make one with: clap-export embed BUNDLE SOURCES --out DIR",
    )  # fmt: skip
    found = schema.read_json(data, str(folder / LIBRARY), LibraryError)
    table = cast("dict[str, object]", found if isinstance(found, dict) else {})
    if table.get("format") != FORMAT:
        raise LibraryError(f"'{folder / LIBRARY}' is not that of a library ('format' differs).")
    version = table.get("format_version")
    if isinstance(version, bool) or version != FORMAT_VERSION:
        raise LibraryError(
            f"the library '{folder}' has format_version {schema.shown(version)}; this clap-export "
            f"reads {FORMAT_VERSION}. Install the one that wrote it, or embed into another folder."
        )
    return schema.read(Description, table, str(folder / LIBRARY))


def text(description: Description) -> str:
    """The document."""
    return json.dumps(schema.to_plain(description), indent=2, ensure_ascii=False) + "\n"
