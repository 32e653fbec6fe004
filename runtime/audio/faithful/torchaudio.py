"""torchaudio's way from one sample rate to another, which msclap takes.

It is ``torchaudio.transforms.Resample`` with its defaults (``sinc_interp_hann``,
``lowpass_filter_width=6``, ``rolloff=0.99``; torchaudio 2.11, ``torchaudio/functional/
functional.py``; Smith, "Digital Audio Resampling", https://ccrma.stanford.edu/~jos/resample/):
each output sample at time t is the sum of ``x[i] * h(i / rate - t)``, where ``h`` is a sinc whose
cutoff is 0.99 of the lower Nyquist frequency, under a Hann window of six zero crossings to each
side. So short a filter lets through what lies above the cutoff: at -37 dB an octave above it.

Only ``up`` different positions between input samples occur, with ``up / down`` the ratio of the
rates in lowest terms: output sample ``k * up + p`` has the weights of phase ``p`` on the input from
``k * down`` on.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

CROSSINGS = 6  # of zero, to each side
ROLLOFF = 0.99  # of the lower Nyquist frequency
# Phases that are computed together, as one matrix product. Of its weights those that the phases do
# not share are zero, so more phases mean more products with zero, and fewer mean more steps.
TOGETHER = 32


class TorchaudioResampler:
    """Changes the sample rate of blocks; together they are torchaudio's result, to 1e-6.

    Args:
        rate: of the blocks, in Hz.
        target: wanted, in Hz; another one.
    """

    def __init__(self, rate: int, target: int) -> None:
        shared = math.gcd(rate, target)
        self._down, self._up = rate // shared, target // shared
        self._width = reach(self._down, self._up)
        self._weights = [
            weights(self._down, self._up, first, min(first + TOGETHER, self._up))
            for first in range(0, self._up, TOGETHER)
        ]
        # Before the recording there is silence.
        self._held: NDArray[np.float32] = np.zeros(self._width, np.float32)
        self._taken = self._given = 0

    def push(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is ready after another block float32 ``[n]``."""
        self._taken += len(block)
        ready = self._ready(block)
        self._given += len(ready)
        return ready

    def finish(self) -> NDArray[np.float32]:
        """What was held back, up to torchaudio's length."""
        # Behind the recording there is silence.
        rest = self._ready(np.zeros(self._width + self._down, np.float32))
        # torchaudio rounds the length up, but to a float32 first.
        length = math.ceil(np.float32(self._up * self._taken / self._down))
        return rest[: max(0, length - self._given)]

    def _ready(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """All rounds of ``up`` samples whose input is there."""
        held = np.concatenate([self._held, block])
        span = self._down + 2 * self._width  # of the input, under a round
        rounds = max(0, (len(held) - span) // self._down + 1)
        ready: NDArray[np.float32] = np.empty(rounds * self._up, np.float32)
        if rounds:
            table = np.reshape(ready, (rounds, self._up))
            for number, (start, matrix) in enumerate(self._weights):
                under = sliding_window_view(held[start:], len(matrix))[:: self._down][:rounds]
                first = number * TOGETHER
                table[:, first : first + matrix.shape[1]] = under @ matrix
        self._held = held[rounds * self._down :]
        return ready


def reach(down: int, up: int) -> int:
    """Input samples under the filter, to each side of an output sample."""
    return math.ceil(CROSSINGS * down / (min(down, up) * ROLLOFF))


def weights(down: int, up: int, first: int, end: int) -> tuple[int, NDArray[np.float32]]:
    """Weights of the phases from ``first`` to ``end``.

    Returns:
        the first input sample that one of them uses, of those under a round, and float32
        ``[inputs, phases]``.
    """
    width = reach(down, up)
    start, last = first * down // up, (end - 1) * down // up + 2 * width + 1
    inputs = np.arange(start, min(last + 1, down + 2 * width)) - width
    # torchaudio has the places of the outputs in float32, and all else in float64.
    place = -np.arange(first, end).astype(np.float32) / np.float32(up)
    at = (place.astype(np.float64) + inputs[:, np.newaxis] / down) * (min(down, up) * ROLLOFF)
    at = np.minimum(np.maximum(at, -CROSSINGS), CROSSINGS)
    window = np.cos(at * np.pi / CROSSINGS / 2) ** 2
    scale = min(down, up) * ROLLOFF / down
    return start, (np.sinc(at) * window * scale).astype(np.float32)
