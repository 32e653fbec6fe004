"""A part of a file through libsndfile."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from runtime import forks
from runtime.audio import header_log, track
from runtime.audio.content import Content, View
from runtime.audio.parts import Part
from runtime.audio.rates import check_rate
from runtime.errors import AudioError

# libsndfile says so when a streamed file does not state its length.
UNKNOWN_FRAMES = 1 << 62
FARTHEST = 1 << 61  # bytes: places behind it are no different, and no overflow


class Track:
    """See :class:`runtime.audio.track.Track`.

    Args:
        content: of the file.
        part: of it.
        name: of the file, for sentences.

    Raises:
        AudioError: soundfile is not installed.
    """

    def __init__(self, content: Content, part: Part, name: str) -> None:
        self._sf = _soundfile()
        self._content, self._part, self._name = content, part, name
        self.rate = 0
        self.stated: int | None = None
        self.integers = False
        self.trouble: str | None = None

    def blocks(self) -> Generator[NDArray[np.float32]]:
        """float32 ``[frames, channels]``, in order; only what is asked for is decoded.

        Raises:
            Undecodable: it cannot be opened, or its first block cannot be read.
            AudioError: it has no header, or a rate or a number of channels that are not taken.
            OSError: the file cannot be read.
        """
        target, view = _target(self._content, self._part)
        try:
            with forks.inside_library():  # soundfile has a lock of its own there
                file = self._sf.SoundFile(target)
        except self._sf.LibsndfileError as error:
            raise track.Undecodable(_said(error)) from error
        except TypeError as error:  # soundfile asks for the parameters of headerless files so
            raise AudioError(
                f"{self._name} has no header that states its rate and type ({error}). "
                "Convert it to WAV, or pass its samples as an array."
            ) from error
        finally:
            _raise(view)
        with file:
            yield from self._read(file)
        _raise(view)

    def _read(self, file: Any) -> Iterator[NDArray[np.float32]]:
        rate = check_rate(int(file.samplerate), self._name)
        channels = track.check_channels(int(file.channels), self._name)
        self.stated = self._part.frames
        if self.stated is None and file.frames < UNKNOWN_FRAMES and not self._part.head:
            self.stated = header_log.stated(file.format, file.extra_info) or int(file.frames)
        # libsndfile's own way from 16 bits to float32 takes eight times as long.
        self.rate, self.integers = rate, file.subtype == "PCM_16"
        # Lengths that headers state are not asked: blocks are read until there are no more.
        file.seekable = lambda: False
        yield np.empty((0, channels), np.float32)
        most = header_log.there(file.format, file.extra_info)
        frames, size = 0, max(1, track.BLOCK // channels)
        while True:
            block = np.empty((size, channels), np.int16 if self.integers else np.float32)
            try:
                count = len(file.read(out=block))
            except self._sf.LibsndfileError as error:
                count = max(0, self._position(file) - frames)  # what came before it is there
                if not frames + count:
                    raise track.Undecodable(_said(error)) from error
                self.trouble = f"it cannot be decoded to its end ({_said(error)})"
            if most is not None:
                count = min(count, most - frames)
            frames += count
            if count:
                yield floats(block[:count])
            if self.trouble or not count:
                break
        if header_log.truncated(file.format, file.extra_info):
            self.trouble = self.trouble or "it ends inside a block"

    def _position(self, file: Any) -> int:
        try:
            return int(file.tell())
        except self._sf.LibsndfileError:  # a format that cannot say
            return 0


class _Memory(io.BytesIO):
    """Bytes as a file that libsndfile may ask for any place, also one that a header invented."""

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        least = 0 if whence == os.SEEK_SET else -FARTHEST
        return super().seek(max(least, min(offset, FARTHEST)), whence)


@contextmanager
def opened(content: Content) -> Generator[Any]:
    """A whole file as a ``soundfile.SoundFile``, which raises what it raises.

    Raises:
        AudioError: soundfile is not installed.
        OSError: the file cannot be read.
    """
    target, view = _target(content, Part(0, content.size))
    try:
        with forks.inside_library():
            file = _soundfile().SoundFile(target)
        with file:
            yield file
    finally:
        _raise(view)


def _target(content: Content, part: Part) -> tuple[object, View | None]:
    """What soundfile opens: a path, which it reads without the interpreter's lock, or the bytes of
    a part."""
    if part.whole(content):
        if content.path is not None:
            # As bytes: a name need not be UTF-8.
            return (content.path if sys.platform == "win32" else os.fsencode(content.path)), None
        if content.data is not None:
            return _Memory(content.data), None
    view = View(content, part.start, part.end, part.head)
    return view, view


def floats(block: NDArray[Any]) -> NDArray[np.float32]:
    """float32 of full scale 1, of int16 or floats."""
    if block.dtype == np.int16:
        return np.multiply(block, np.float32(2**-15), dtype=np.float32)
    return cast("NDArray[np.float32]", block)


def _raise(view: View | None) -> None:
    if view is not None and view.problem is not None:
        problem, view.problem = view.problem, None
        try:
            raise problem
        finally:
            del problem  # it holds this frame


def _soundfile() -> Any:
    try:
        import soundfile  # pyright: ignore[reportMissingTypeStubs]
    except Exception as error:  # OSError where libsndfile itself is not there
        raise AudioError(
            f"audio files need soundfile, which cannot be imported ({error}). "
            "Install it: pip install soundfile"
        ) from error
    return soundfile


def _said(error: Any) -> str:
    said = str(error.error_string).rstrip(".")
    # Of a file with an MP3's name in which there are no frames; it was opened, so it is there.
    if said.startswith("File does not exist"):
        return "Format not recognised"
    return said or "no reason given"
