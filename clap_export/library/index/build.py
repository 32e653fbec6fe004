"""Make a library's index, or take it away."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clap_export import __version__
from clap_export.library.index.engines import FILL
from runtime import files
from runtime.errors import ClapError
from runtime.library import columns, description
from runtime.library.columns import RECORDINGS, WINDOWS
from runtime.library.description import Description, LibraryError
from runtime.library.index import document
from runtime.library.index.document import (
    DOCUMENT,
    FORMAT,
    FORMAT_VERSION,
    INDEX,
    Covered,
    Document,
    Engine,
)
from runtime.library.part import Part

DEFAULT: Engine = "usearch"


@dataclass(frozen=True)
class Built:
    """What was indexed.

    Attributes:
        of: recordings or windows, by the name of their folder.
        vectors: how many.
        bytes: of the index.
        seconds: that it took.
    """

    of: str
    vectors: int
    bytes: int
    seconds: float


def build(folder: Path, engine: Engine, say: Callable[[str], None]) -> list[Built]:
    """Index the recordings of a library, and the windows if it has any; an older index is replaced.

    Args:
        folder: of the library, which nobody may write meanwhile.
        engine: that makes the index.
        say: is told how far it is.

    Raises:
        LibraryError: there is no library, a part is damaged, it has no vectors, or the index cannot
            be written.
        ClapError: the engine is not installed, or fails.
    """
    said = description.read(folder)
    with files.owning(folder, LibraryError), files.scratch(folder / INDEX, LibraryError) as work:
        new = work / "new"
        new.mkdir()
        kinds = [RECORDINGS, *([WINDOWS] if said.each_window else [])]
        built = [_built(folder, kind, new / kind, said, engine, say) for kind in kinds]
        _away(folder, work)
        files.publish(new, folder / INDEX)
    return built


def remove(folder: Path) -> bool:
    """Take the index of a library away; whether it had one.

    Raises:
        LibraryError: there is no library, or another process writes it.
    """
    description.read(folder)
    with files.owning(folder, LibraryError), files.scratch(folder / INDEX, LibraryError) as work:
        return _away(folder, work)


def _away(folder: Path, work: Path) -> bool:
    """Move what is there into a folder that is removed; who reads it keeps it."""
    try:
        (folder / INDEX).rename(work / "old")
    except FileNotFoundError:
        return False
    return True


def _built(
    folder: Path, kind: str, out: Path, said: Description, engine: Engine,
    say: Callable[[str], None],
) -> Built:  # fmt: skip
    began = time.monotonic()
    out.mkdir()
    parts = [Part(folder / kind / name, said) for name in columns.names(folder / kind)]
    if kind == WINDOWS:  # windows without recordings are what a killed writer left
        parts = [part for part in parts if (folder / RECORDINGS / part.name).exists()]
    count = sum(len(block.rows) for part in parts for block in part.stored())
    if not count:
        raise LibraryError(f"the library '{folder}' has no vectors in '{kind}' to be indexed.")
    covered: list[Covered] = []

    def batches() -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        first = done = 0
        for part in parts:
            covered.append(Covered(part.name, part.count, part.fingerprint()))
            for block in part.stored():
                say(f"indexing {kind}: {done:,} of {count:,}")
                vectors = block.floats(slice(None))
                if not np.isfinite(vectors).all():
                    raise LibraryError(
                        f"the part '{part.path}' is damaged: it has vectors that are not finite. "
                        "Remove it, and embed the same sources again."
                    )
                yield first + block.rows, vectors
                done += len(vectors)
            first += part.count
        say(f"indexing {kind}: writing")

    try:
        FILL[engine](out, said.dim, count, batches())
    except (ClapError, OSError):
        raise
    except Exception as error:  # whatever an engine raises
        reason = str(error).strip().partition("\n")[0][:200] or type(error).__name__
        raise ClapError(f"{engine} could not index '{folder}' ({reason}).") from error
    tools = {name: importlib.metadata.version(name) for name in (engine, "numpy")}
    written = Document(
        FORMAT, FORMAT_VERSION, engine, said.clip_space_id, said.dim, count, tuple(covered),
        {"clap-export": __version__, **tools},
    )  # fmt: skip
    (out / DOCUMENT).write_text(document.text(written), encoding="utf-8")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return Built(kind, count, size, time.monotonic() - began)
