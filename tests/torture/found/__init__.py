"""Inputs that once ended a process, escaped a reader, or asked for all memory; each is refused now.

They are made by code, so that a change of a format changes them too. What a fuzzer finds, and no
short code makes, lies in ``corpus/READER/``: any file there is read as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.torture.found import banks, checkpoints, documents, graphs, recordings

CORPUS = Path(__file__).parent.with_name("corpus")
FOUND = {
    **documents.FOUND, **graphs.FOUND, **banks.FOUND, **checkpoints.FOUND, **recordings.FOUND,
}  # fmt: skip


@dataclass(frozen=True)
class Known:
    """An input that once was found.

    Attributes:
        bad: it must be refused; else it may be read, too.
    """

    title: str
    content: bytes
    bad: bool


def inputs(reader: str, good: bytes) -> list[Known]:
    """What was found for a reader.

    Args:
        reader: its name.
        good: content of the good input, of the file of it that is changed.
    """
    made = [Known(title, make(good), True) for title, make in FOUND.get(reader, {}).items()]
    return made + [Known(path.name, path.read_bytes(), False) for path in kept(reader)]


def count(reader: str) -> int:
    """How many :func:`inputs` there are."""
    return len(FOUND.get(reader, {})) + len(kept(reader))


def kept(reader: str) -> list[Path]:
    """Files of ``corpus/`` for a reader."""
    folder = CORPUS / reader.replace(", ", "-").replace(" ", "-")
    return sorted(path for path in folder.glob("*") if path.name != "README.md")
