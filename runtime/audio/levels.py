"""Sample values: full scales, channels, and what no recording holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import AudioError

if TYPE_CHECKING:
    from runtime.audio.faithful.strung import LaterChannels

MAX_CHANNELS = 32
# Floats should lie in [-1, 1]. A mix may overshoot a little; int16 values cast to float (up to
# 32767) are a mistake that would give confident nonsense.
MAX_PEAK = 100.0
INT16_SCALE = 32767  # of the round trip that some families were trained behind


class Levels:
    """Mixes blocks of a recording down, and remembers what is wrong with their values.

    Args:
        name: of the recording, for sentences.
        later: where all channels but the first go, instead of into the mean.
    """

    def __init__(self, name: str, later: LaterChannels | None = None) -> None:
        self._name, self._later = name, later
        self._seen = self._bad = self._first = 0

    def mono(self, channels: NDArray[np.float32], integers: bool = False) -> NDArray[np.float32]:
        """The mean over channels of a block, or the first channel.

        Args:
            channels: float32 ``[channels, samples]``.
            integers: they were integers, and need no look at their values.

        Returns:
            float32 ``[samples]``, a copy; of a block with samples that are not finite, those before
            the first of them, and the next call raises.

        Raises:
            AudioError: it is louder than a recording can be, or the block before it was not finite.
        """
        if self._bad:
            self.check()
        if not integers:
            check_peak(channels, self._name)
        with np.errstate(invalid="ignore", over="ignore"):
            mono = channels[0].copy()
            for channel in channels[1:]:  # numpy's mean takes thrice as long over so few
                mono += channel
            if len(channels) > 1:
                mono /= np.float32(len(channels))
        if self._later is not None:
            # A sum with a value that is not finite is not finite either.
            finite = np.isfinite(mono)
            end = len(mono) if integers or finite.all() else int(np.argmin(finite))
            self._later.keep(channels[1:, :end])
            mono[:end] = channels[0, :end]
        self._seen += len(mono)
        if integers:
            return mono
        finite = np.isfinite(mono)
        if not finite.all():
            first = int(np.argmin(finite))
            self._first = self._seen - len(mono) + first
            self._bad = int(np.count_nonzero(~finite))
            return mono[:first]
        return mono

    def check(self) -> None:
        """Look back at all blocks.

        Raises:
            AudioError: there were values that are not finite, or none at all.
        """
        if self._bad:
            raise AudioError(
                f"{self._name} has NaN or infinite samples ({self._bad}, the first at index "
                f"{self._first}). Repair the recording."
            )
        if not self._seen:
            raise AudioError(f"{self._name} holds no audio: 0 samples. It may be truncated.")


def check_peak(channels: NDArray[Any], name: str) -> None:
    """Refuse floats at the scale of integers; NaN and infinity are for :meth:`Levels.check`.

    Raises:
        AudioError: a peak above ``MAX_PEAK``.
    """
    with np.errstate(invalid="ignore"):
        peak = float(max(channels.max(initial=0), -channels.min(initial=0)))
        if peak > MAX_PEAK or peak != peak:
            finite = np.abs(channels[np.isfinite(channels)])
            peak = float(finite.max(initial=0))
    if peak > MAX_PEAK:
        raise AudioError(
            f"{name} has a peak of {peak:g}: floats must lie in [-1, 1]. "
            "Divide it by its full scale (32768 for 16 bit), or pass the integers."
        )


def unit_scale(channels: NDArray[Any], name: str) -> NDArray[np.float32]:
    """PCM of any accepted type to float32 with full scale 1.

    Raises:
        AudioError: another type, or floats that are far out of scale.
    """
    kind = channels.dtype
    if kind == np.int16:
        return np.divide(channels, 1 << 15, dtype=np.float32)
    if kind == np.int32:
        return (channels / float(1 << 31)).astype(np.float32)
    if kind == np.uint8:
        return np.divide(channels.astype(np.int16) - 128, 128, dtype=np.float32)
    if not np.issubdtype(kind, np.floating):
        raise AudioError(
            f"the {name} has dtype {kind}: pass floats in [-1, 1], or int16, int32 or uint8 PCM."
        )
    check_peak(channels, f"the {name} of {kind}")
    return channels.astype(np.float32)


def round_trip_int16(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Clip to [-1, 1] and truncate to the int16 grid, as some families were trained."""
    scaled = np.minimum(np.maximum(samples, -1.0), 1.0) * np.float32(INT16_SCALE)
    return np.divide(scaled.astype(np.int16), np.float32(INT16_SCALE), dtype=np.float32)
