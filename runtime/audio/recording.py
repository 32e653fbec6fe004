"""Recordings of any kind to what the audio graph takes: float32, mono, at the bundle's rate."""

from __future__ import annotations

import math
import sys
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtime.audio.arrays import Recording
from runtime.audio.levels import round_trip_int16
from runtime.audio.stream import Stream
from runtime.errors import AudioWarning

if TYPE_CHECKING:
    from runtime.audio.arrays import Samples, Source
    from runtime.audio.sources import File
    from runtime.audio_spec import AudioSpec

MAX_SECONDS = 3600.0  # of a recording that is read whole; in blocks it may last as long as it likes


def read(
    source: Source,
    sample_rate: int | None = None,
    *,
    max_seconds: float = MAX_SECONDS,
    rate: int | None = None,
    keep_from: float = math.inf,
) -> Recording:
    """Read a recording whole and mix its channels down by their mean.

    Lengths are found by decoding, not believed: a file that is shorter than its header says, whose
    header was never completed, or that several files were joined to, is read as far as it goes.
    :class:`Stream` gives the same samples in blocks.

    Args:
        source: path, the bytes of an audio file, a file object opened for binary reading, or an
            array ``(samples,)`` or ``(channels, samples)``: floats in [-1, 1], or int16, int32 or
            uint8 PCM, which are scaled by their full scale; or :class:`Chunks` of such arrays; or a
            Recording.
        sample_rate: in Hz; required for arrays. Files state their own: a different one is refused.
        max_seconds: longer recordings are refused; infinity for no limit.
        rate: to bring it to, in Hz; default its own.
        keep_from: see :class:`Stream`.

    Raises:
        AudioError: whatever is wrong with it: missing, not a file, empty, corrupt, not finite, too
            loud, too long, or an array of a shape, type or rate that is no recording.
        ClapError: ``max_seconds`` is no positive number.
    """
    samples = _Growing()
    with Stream(
        source, sample_rate, rate=rate, max_seconds=max_seconds, keep_from=keep_from
    ) as stream:
        for block in stream.blocks():
            samples.add(block)
        return Recording(samples.done(), stream.rate, stream.warning)


def load(
    source: Source, sample_rate: int | None = None, *, max_seconds: float = MAX_SECONDS
) -> tuple[Samples, int]:
    """:func:`read`, as a pair; a warning of it is issued as an :class:`AudioWarning`.

    Returns:
        float32 samples ``[n]``, and their sample rate in Hz.

    Raises:
        AudioError: see :func:`read`.
    """
    found = said(read(source, sample_rate, max_seconds=max_seconds))
    return found.samples, found.rate


def decode(source: File, *, max_seconds: float = MAX_SECONDS) -> tuple[Samples, int]:
    """Decode an audio file: the first stage of :func:`load`, to be timed alone.

    Raises:
        AudioError: see :func:`read`.
    """
    return load(source, max_seconds=max_seconds)


def prepared(
    source: Source,
    spec: AudioSpec,
    sample_rate: int | None = None,
    *,
    max_seconds: float = MAX_SECONDS,
) -> Recording:
    """Read a recording and bring it to the rate and sample values the audio graph was made for.

    Args:
        source: see :func:`read`.
        spec: the bundle's audio specification.
        sample_rate: of an array, in Hz.
        max_seconds: longer recordings are refused.

    Returns:
        samples at ``spec.sample_rate``, not yet cut into windows.

    Raises:
        AudioError: see :func:`read`.
    """
    found = read(
        source, sample_rate, max_seconds=max_seconds, rate=spec.sample_rate,
        keep_from=spec.window_samples / spec.sample_rate,
    )  # fmt: skip
    if spec.int16_round_trip:
        found = replace(found, samples=round_trip_int16(found.samples))
    return found


def prepare(
    source: Source,
    spec: AudioSpec,
    sample_rate: int | None = None,
    *,
    max_seconds: float = MAX_SECONDS,
) -> Samples:
    """The samples of :func:`prepared`; a warning of it is issued as an :class:`AudioWarning`.

    Raises:
        AudioError: see :func:`read`.
    """
    return said(prepared(source, spec, sample_rate, max_seconds=max_seconds)).samples


def said(found: Recording) -> Recording:
    """A recording as it is; its warning is issued, for callers who get its samples alone."""
    warn(found.warning)
    return found


def warn(warning: str | None) -> None:
    """Issue what is wrong with a recording, if anything is, as an :class:`AudioWarning` of the code
    that asked the runtime for it."""
    if warning is None:
        return
    level, frame = 2, sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("runtime."):
        level, frame = level + 1, frame.f_back
    warnings.warn(warning, AudioWarning, stacklevel=level)


class _Growing:
    """An array that grows: memory is asked for only when there is something to put in it."""

    def __init__(self) -> None:
        self._data: NDArray[np.float32] = np.empty(1 << 16, np.float32)
        self._count = 0

    def add(self, block: NDArray[np.float32]) -> None:
        end = self._count + len(block)
        if end > len(self._data):
            # In place where the system can: the pages are moved, not copied.
            self._data.resize(max(end, len(self._data) * 3 // 2), refcheck=False)
        self._data[self._count : end] = block
        self._count = end

    def done(self) -> NDArray[np.float32]:
        self._data.resize(self._count, refcheck=False)
        return self._data
