"""What may be given as a recording: its name in sentences, and its bytes."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from runtime.audio import spool
from runtime.audio.content import Content
from runtime.errors import AudioError
from runtime.plain_text import printable

if TYPE_CHECKING:
    from typing import TypeAlias

    File: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO

PIECE = 1 << 20  # bytes of a stream that are asked for at once


def name(source: object) -> str:
    """What a source is called in sentences; of paths, what a terminal can show."""
    if isinstance(source, (str, os.PathLike)):
        return f"'{printable(os.fsdecode(cast('str | os.PathLike[str]', source)))}'"
    if isinstance(source, (bytes, bytearray, memoryview)):
        size = len(cast(bytes, source))
        return f"the audio file in memory ({size} bytes)"
    if isinstance(source, np.ndarray):
        return f"array of shape {cast(NDArray[Any], source).shape}"
    return f"the audio file in {type(source).__name__}"


def opened(source: File) -> AbstractContextManager[Content]:
    """The bytes of an audio file.

    A file object that can seek is read where it is. Whatever comes but once (a pipe, a socket, a
    path of a FIFO) is kept whole while it is decoded, beyond some MiB on the disk: see
    :func:`runtime.audio.spool.kept`.

    Raises:
        AudioError: no such file, nothing in it, no kind of source, or no room to keep it.
        Exception: whatever a file object of the caller's raises.
    """
    called = name(source)
    if isinstance(source, (str, os.PathLike)):
        return _on_disk(os.fsdecode(source), called)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return nullcontext(_filled(Content(bytes(cast(bytes, source))), called))
    if hasattr(source, "read"):
        return _object(source, called)
    raise AudioError(
        f"{type(source).__name__} is no recording: pass one path, the bytes of an audio file, "
        "a binary file object or a numpy array."
    )


def repeatable(source: object) -> bool:
    """Whether a source gives the same again: not a file object, nor the path of a pipe."""
    if isinstance(source, (str, os.PathLike)):
        try:
            mode = os.stat(os.fsdecode(cast("str | os.PathLike[str]", source))).st_mode
        except (OSError, ValueError):
            return True  # and fails the same again
        return stat.S_ISREG(mode)
    return isinstance(source, (bytes, bytearray, memoryview, np.ndarray))


@contextmanager
def _object(source: BinaryIO, called: str) -> Generator[Content]:
    seekable = cast(object, getattr(source, "seekable", None))
    # To go back in these is to decompress all of it again.
    once = type(source).__module__.split(".")[0] in ("gzip", "bz2", "lzma", "zipfile")
    if once or not callable(seekable) or not seekable():
        with spool.kept(_pieces(source, called), called) as content:
            yield _filled(content, called)
        return
    _bytes(source.read(0), called)
    try:
        yield _filled(Content(source), called)
    finally:
        with contextlib.suppress(Exception):
            source.seek(0, os.SEEK_END)  # as if it had been read


def _filled(content: Content, called: str) -> Content:
    if not content.size:
        raise AudioError(f"{called} is empty (0 bytes).")
    return content


def _pieces(source: BinaryIO, called: str) -> Iterator[bytes]:
    piece = b"any"
    while piece:
        try:
            try:
                piece = _bytes(source.read(PIECE), called)
            except TypeError:  # its `read` takes no number
                yield _bytes(source.read(), called)
                return
        except StopIteration as error:  # a generator may not raise it
            raise AudioError(f"{called} cannot be read (StopIteration: {error}).") from error
        yield piece


def _bytes(piece: object, called: str) -> bytes:
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return bytes(cast(bytes, piece))
    if piece is None:
        raise AudioError(
            f"{called} does not wait for its bytes: make it blocking, or pass them when they are "
            "all there."
        )
    raise AudioError(f"{called} is not open in binary mode: open it with mode 'rb'.")


@contextmanager
def _on_disk(path: str, called: str) -> Generator[Content]:
    try:
        once = _comes_once(path, called)
        # Read in windows of 1 MiB: a buffer would only copy them.
        file = open(path, "rb", buffering=0)  # noqa: SIM115 - see below
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AudioError(f"{called} cannot be read ({reason}).") from error
    with file:
        source = cast(BinaryIO, file)
        if once:
            with _object(source, called) as content:
                yield content
        else:
            yield Content(source, path, file.fileno())


def _comes_once(path: str, called: str) -> bool:
    """Whether a path is that of a pipe; all others must be files."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise AudioError(f"{called} does not exist. Check the path.") from None
    if stat.S_ISDIR(found.st_mode):
        raise AudioError(f"{called} is a folder, not an audio file.")
    if stat.S_ISFIFO(found.st_mode):
        return True
    if not stat.S_ISREG(found.st_mode):
        raise AudioError(f"{called} is neither a file nor a pipe: read it and pass its bytes.")
    if found.st_size == 0:
        raise AudioError(f"{called} is empty (0 bytes).")
    return False
