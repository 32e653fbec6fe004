"""librosa's way from one sample rate to another: LAION's loader takes it, and transformers' users.

It is ``librosa.resample`` with its defaults (``soxr_hq``, ``fix=True``; librosa 0.10,
``librosa/core/audio.py``): soxr's result, whose length is then set to ``ceil(n * ratio)``. The
ratio is a float, and a product that should be whole may come out a hair above it: 5 s at 44.1 kHz
become 240,001 samples at 48 kHz, which no longer fit twice into a window of 10 s.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from runtime.audio.rates import Resampler


class LibrosaResampler:
    """Changes the sample rate of blocks; together they are librosa's result, bit for bit.

    Args:
        rate: of the blocks, in Hz.
        target: wanted, in Hz; another one.

    Raises:
        AudioError: soxr is not installed.
    """

    def __init__(self, rate: int, target: int) -> None:
        self._soxr = Resampler(rate, target)
        self._ratio = float(target) / rate
        self._taken = self._given = 0

    def push(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is ready after another block float32 ``[n]``."""
        self._taken += len(block)
        ready = self._soxr.push(block)
        self._given += len(ready)
        return ready

    def finish(self) -> NDArray[np.float32]:
        """What was held back, up to librosa's length."""
        rest = self._soxr.finish()
        wanted = max(0, math.ceil(self._taken * self._ratio) - self._given)
        return np.pad(rest[:wanted], (0, max(0, wanted - len(rest))))
