"""Bytes that come once, kept for reading at any place: in memory while few, then on the disk."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from runtime.audio.content import WINDOW, Content
from runtime.audio.parts import Part
from runtime.errors import AudioError
from runtime.plain_text import printable

IN_MEMORY = 8 << 20  # bytes


@contextmanager
def kept(pieces: Iterable[bytes], name: str, in_memory: int = IN_MEMORY) -> Generator[Content]:
    """All bytes of a stream, of which there may be as many as the disk has room for.

    Args:
        pieces: of the stream, in order.
        name: of the stream, for sentences.
        in_memory: so many bytes are kept without a file.

    Raises:
        AudioError: the disk is full, or cannot be written to.
    """
    rest, first, size = iter(pieces), list[bytes](), 0
    while size <= in_memory and (piece := next(rest, b"")):
        first.append(piece)
        size += len(piece)
    if size <= in_memory:
        yield Content(b"".join(first))
        return
    with copy(itertools.chain(first, rest), name) as file:
        first.clear()
        yield Content(file, descriptor=file.fileno())


@contextmanager
def copy(pieces: Iterable[bytes], name: str) -> Generator[BinaryIO]:
    """Bytes in a private file, in the system's folder for temporary files (``TMPDIR``).

    On Linux the file never has a name, so nothing is left of it however the process ends.

    Args:
        pieces: of the bytes, in order.
        name: of what they are, for sentences.

    Raises:
        AudioError: the disk is full, or cannot be written to.
    """
    with private(name) as file:
        for piece in pieces:
            add(file, piece, name)
        file.seek(0)
        yield file


def private(name: str) -> BinaryIO:
    """A new private file, open for writing and reading; it is gone when it is closed.

    Raises:
        AudioError: it cannot be made.
    """
    import tempfile  # it brings many others

    # Elsewhere it needs a name, by which another program can open it.
    make = (
        tempfile.TemporaryFile if os.path.exists("/proc/self/fd") else tempfile.NamedTemporaryFile
    )
    with _disk(name):
        return cast(BinaryIO, make(buffering=0, prefix="clap-audio-"))


def add(file: BinaryIO, piece: bytes, name: str) -> None:
    """Write all of a piece to the end of a private file.

    Raises:
        AudioError: the disk is full, or cannot be written to.
    """
    with _disk(name):
        left = memoryview(piece)
        while left:
            left = left[file.write(left) :]


def pieces(content: Content, part: Part) -> Iterator[bytes]:
    """The bytes of a part, with what stands in front of them.

    Raises:
        OSError: the file cannot be read.
    """
    if part.head:
        yield part.head
    at = part.start
    while at < part.end and (data := content.at(at, min(WINDOW, part.end - at))):
        yield data
        at += len(data)


@contextmanager
def _disk(name: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        found = "is full" if full else f"cannot be written to ({error.strerror or error})"
        import tempfile

        folder = printable(tempfile.tempdir or "the folder for temporary files")
        raise AudioError(
            f"{name} must be kept while it is decoded, and the disk of '{folder}' {found}. "
            "Make room there, or set TMPDIR to a folder on another disk."
        ) from error
