"""What may be given as a recording: its name in sentences, and its bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from runtime.audio.content import Content
from runtime.errors import AudioError
from runtime.plain_text import printable

if TYPE_CHECKING:
    from typing import TypeAlias

    File: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO


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

    Raises:
        AudioError: no such file, nothing in it, or no kind of source.
        Exception: whatever a file object of the caller's raises.
    """
    called = name(source)
    if isinstance(source, (str, os.PathLike)):
        return _on_disk(os.fsdecode(source), called)
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(cast(bytes, source))
    elif hasattr(source, "read"):
        content = cast(object, source.read())
        if isinstance(content, (bytearray, memoryview)):
            content = bytes(cast(bytes, content))
        if not isinstance(content, bytes):
            raise AudioError(f"{called} is not open in binary mode: open it with mode 'rb'.")
        data = content
    else:
        raise AudioError(
            f"{type(source).__name__} is no recording: pass one path, the bytes of an audio file, "
            "a binary file object or a numpy array."
        )
    if not data:
        raise AudioError(f"{called} is empty (0 bytes).")
    return nullcontext(Content(data))


@contextmanager
def _on_disk(path: str, called: str) -> Generator[Content]:
    try:
        _check_file(path, called)
        # Read in windows of 1 MiB: a buffer would only copy them.
        file = open(path, "rb", buffering=0)  # noqa: SIM115 - see below
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AudioError(f"{called} cannot be read ({reason}).") from error
    with file:
        yield Content(cast(BinaryIO, file), path)


def _check_file(path: str, called: str) -> None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise AudioError(f"{called} does not exist. Check the path.") from None
    if stat.S_ISDIR(found.st_mode):
        raise AudioError(f"{called} is a folder, not an audio file.")
    if not stat.S_ISREG(found.st_mode):
        raise AudioError(f"{called} is not a regular file: read it and pass its bytes.")
    if found.st_size == 0:
        raise AudioError(f"{called} is empty (0 bytes).")
