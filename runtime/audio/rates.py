"""Sample rates: which there are, and from one to another."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from runtime.arguments import real, shown
from runtime.errors import AudioError

MIN_RATE, MAX_RATE = 1_000, 768_000


def check_rate(rate: object, name: str = "the recording") -> int:
    """A sample rate as int.

    Raises:
        AudioError: not a whole number, or outside what recordings have.
    """
    value = real(rate)
    if value is None or not value.is_integer():  # infinity and NaN are no integers
        raise AudioError(f"sample_rate is {shown(rate)}: pass a whole number of Hz, such as 44100.")
    if not MIN_RATE <= value <= MAX_RATE:
        raise AudioError(
            f"{name} has a sample rate of {value:.0f} Hz; {MIN_RATE} to {MAX_RATE} Hz are taken. "
            "Check the rate (it is in Hz, not kHz)."
        )
    return int(value)


def resample(samples: NDArray[np.float32], rate: int, target: int) -> NDArray[np.float32]:
    """Change the sample rate with soxr's high-quality filter (linear phase, -120 dB).

    Args:
        samples: float32 ``[n]``.
        rate: of the samples, in Hz.
        target: wanted, in Hz.

    Returns:
        float32 ``[round(n * target / rate)]``; the input itself when the rates are equal.

    Raises:
        AudioError: soxr is not installed, or the clip is shorter than one sample of the target.
    """
    if rate == target:
        return samples
    soxr = _soxr(rate, target)
    result = np.asarray(soxr.resample(samples, rate, target, quality="HQ"), np.float32)
    return check_not_lost(result, len(samples), rate, target)


def check_not_lost(
    result: NDArray[np.float32], samples: int, rate: int, target: int
) -> NDArray[np.float32]:
    """The result of resampling, if there is any.

    Raises:
        AudioError: there is none.
    """
    if not len(result):
        raise AudioError(
            f"the recording is too short: its length in samples is {samples} at {rate} Hz, and 0 "
            f"at {target} Hz."
        )
    return result


class Resampler:
    """:func:`resample` in blocks: together they are its result, bit for bit.

    Args:
        rate: of the blocks, in Hz.
        target: wanted, in Hz.

    Raises:
        AudioError: soxr is not installed.
    """

    def __init__(self, rate: int, target: int) -> None:
        self._stream: Any = None
        if rate != target:
            make = _soxr(rate, target).ResampleStream
            self._stream = make(rate, target, 1, dtype="float32", quality="HQ")

    def push(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is ready after another block float32 ``[n]``."""
        return block if self._stream is None else self._resampled(block, last=False)

    def finish(self) -> NDArray[np.float32]:
        """What was held back."""
        nothing = np.empty(0, np.float32)
        return nothing if self._stream is None else self._resampled(nothing, last=True)

    def _resampled(self, block: NDArray[np.float32], last: bool) -> NDArray[np.float32]:
        return np.asarray(self._stream.resample_chunk(block, last=last), np.float32)


def _soxr(rate: int, target: int) -> Any:
    try:
        import soxr  # pyright: ignore[reportMissingTypeStubs]
    except Exception as error:  # a broken installation raises more than ImportError
        raise AudioError(
            f"changing {rate} Hz to {target} Hz needs soxr, which cannot be imported ({error}). "
            "Install it: pip install soxr"
        ) from error
    return cast(Any, soxr)
