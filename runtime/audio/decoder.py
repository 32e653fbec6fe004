"""Audio files to blocks of mono float32: whatever libsndfile reads, as far as it can be read."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from runtime import forks
from runtime.audio.content import Content, View
from runtime.audio.levels import MAX_CHANNELS, Levels
from runtime.audio.limit import Limit
from runtime.audio.parts import Part
from runtime.audio.rates import Resampler, check_rate
from runtime.audio.structure import find
from runtime.errors import AudioError

BLOCK = 1 << 16  # values that are decoded at once, of all channels together
# libsndfile says so when a streamed file does not state its length.
UNKNOWN_FRAMES = 1 << 62
FARTHEST = 1 << 61  # bytes: places behind it are no different, and no overflow
# Decoders differ by a frame or two of their own at the ends; a file that was cut misses more.
MISSING_SECONDS = 0.2


class Decoder:
    """Decodes a file, part after part.

    Args:
        content: of the file.
        name: of the file, for sentences.
        max_seconds: longer files are refused, those that state it before they are decoded.

    Attributes:
        rate: of the first part, in Hz, to which later ones are brought; 0 until its first block.
        warnings: what is wrong with the file although it could be read, as clauses.

    Raises:
        AudioError: soundfile is not installed.
        OSError: the file cannot be read.
    """

    def __init__(self, content: Content, name: str, max_seconds: float) -> None:
        self._sf = _soundfile()
        self._content, self._name = content, name
        self._limit = Limit(name, max_seconds)
        self._levels = Levels(name)
        self._seconds = 0.0  # decoded so far
        structure = find(content)
        self._parts = structure.parts
        self.rate = 0
        self.warnings = [structure.warning] if structure.warning else []

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Mono float32 ``[n]``, in order; only what is asked for is decoded.

        Raises:
            AudioError: the file cannot be used.
        """
        for number, part in enumerate(self._parts, 1):
            before = self._seconds
            try:
                yield from self._decoded(part)
            except self._sf.LibsndfileError as error:
                if not before and self._seconds == 0 and number == len(self._parts):
                    raise AudioError(
                        f"{self._name} cannot be decoded ({_said(error)}): it is corrupt, "
                        "truncated or "
                        "of an unsupported format. Check the file, or convert it to WAV or FLAC."
                    ) from error
                self.warnings.append(
                    f"its part {number} of {len(self._parts)} cannot be decoded ({_said(error)})"
                )
        self._levels.check()

    def _decoded(self, part: Part) -> Iterator[NDArray[np.float32]]:
        target, view = self._target(part)
        try:
            with forks.inside_library():  # soundfile has a lock of its own there
                file = self._sf.SoundFile(target)
        except TypeError as error:  # soundfile asks for the parameters of headerless files so
            raise AudioError(
                f"{self._name} has no header that states its rate and type ({error}). "
                "Convert it to WAV, or pass its samples as an array."
            ) from error
        finally:
            _raise(view)
        with file:
            yield from self._read(file, part)
        _raise(view)

    def _read(self, file: Any, part: Part) -> Iterator[NDArray[np.float32]]:
        rate, channels = check_rate(int(file.samplerate), self._name), int(file.channels)
        if channels > MAX_CHANNELS:
            raise AudioError(
                f"{self._name} has {channels} channels; at most {MAX_CHANNELS} are taken. "
                "Mix it down, or pass the channels that are wanted as an array."
            )
        self.rate = self.rate or rate
        stated = part.frames
        if stated is None and file.frames < UNKNOWN_FRAMES and not part.head:
            stated = int(file.frames)
        self._limit.check(stated or 0, rate)
        # Lengths that headers state are not asked: blocks are read until there are no more.
        file.seekable = lambda: False
        resampler = Resampler(rate, self.rate)
        frames, before = 0, self._seconds
        for block in self._raw_blocks(file, max(1, BLOCK // channels)):
            frames += len(block)
            self._seconds = before + frames / rate
            self._limit.check(self._seconds * rate, rate, so_far=True)
            yield resampler.push(
                self._levels.mono(np.moveaxis(block, 1, 0), file.subtype == "PCM_16")
            )
        yield resampler.finish()
        if stated is not None and frames + MISSING_SECONDS * rate < stated:
            self.warnings.append(
                f"it states {stated / rate:.1f} s, and {frames / rate:.1f} s could be decoded"
            )

    def _raw_blocks(self, file: Any, size: int) -> Iterator[NDArray[np.float32]]:
        """float32 ``[frames, channels]``, up to the end or to what cannot be decoded."""
        # libsndfile's own way from 16 bits to float32 takes eight times as long.
        kind = np.int16 if file.subtype == "PCM_16" else np.float32
        read = 0
        while True:
            block = np.empty((size, int(file.channels)), kind)
            error = None
            try:
                count = len(file.read(out=block))
            except self._sf.LibsndfileError as problem:
                error = problem
                count = max(0, self._position(file) - read)  # what came before it is in the block
                if not read + count:
                    raise
                self.warnings.append(f"it cannot be decoded to its end ({_said(problem)})")
            read += count
            data = block[:count]
            if kind is np.int16:
                yield np.multiply(data, np.float32(2**-15), dtype=np.float32)
            else:
                yield cast("NDArray[np.float32]", data)
            if error is not None or not count:
                return

    def _position(self, file: Any) -> int:
        try:
            return int(file.tell())
        except self._sf.LibsndfileError:  # a format that cannot say
            return 0

    def _target(self, part: Part) -> tuple[object, View | None]:
        """What soundfile opens: a path, which it reads without the interpreter's lock, or the
        bytes of this part."""
        content = self._content
        if not part.head and part.start == 0 and part.end == content.size:
            if content.path is not None:
                # As bytes: a name need not be UTF-8.
                return (
                    content.path if sys.platform == "win32" else os.fsencode(content.path)
                ), None
            if content.data is not None:
                return _Memory(content.data), None
        view = View(content, part.start, part.end, part.head)
        return view, view


class _Memory(io.BytesIO):
    """Bytes as a file that libsndfile may ask for any place, also one that a header invented."""

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        least = 0 if whence == os.SEEK_SET else -FARTHEST
        return super().seek(max(least, min(offset, FARTHEST)), whence)


def _raise(view: View | None) -> None:
    if view is not None and view.problem is not None:
        raise view.problem


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
    return str(error.error_string).rstrip(".") or "no reason given"
