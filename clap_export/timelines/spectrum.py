"""The power of a recording in mel bands over time, for a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from clap_export.timelines.grid import Grid

BANDS = 96
WINDOW = 0.04  # seconds of a frame, about
PIECE = 1 << 16  # samples transformed at once


class Spectrum:
    """Takes a recording in blocks, and keeps the mean power of each column.

    Args:
        rate: of the samples, in Hz.
        low: lowest frequency shown, in Hz.
        high: the highest.
    """

    def __init__(self, rate: int, low: float, high: float) -> None:
        self._rate = rate
        self._size = 1 << round(np.log2(WINDOW * rate))
        self._window = np.hanning(self._size + 1)[:-1].astype(np.float32)
        self.edges = to_hertz(np.linspace(to_mel(low), to_mel(high), BANDS + 2))
        self._bank = _bank(self.edges, np.fft.rfftfreq(self._size, 1 / rate))
        self._left = np.zeros(0, np.float32)
        self._next = 0  # sample at which the next frame begins
        # The last row counts frames.
        self._grid = Grid(BANDS + 1, self._size / 4 / rate, np.add, 0.0)

    @property
    def seconds(self) -> float:
        """Of a column."""
        return self._grid.seconds

    def push(self, block: NDArray[np.float32]) -> None:
        """Add samples float32 ``[n]``."""
        for at in range(0, len(block), PIECE):
            self._left = np.concatenate([self._left, block[at : at + PIECE]])
            self._take()

    def finish(self) -> None:
        """The last frames, behind which there is silence."""
        self._left = np.append(self._left, np.zeros(self._size, np.float32))
        self._take()

    def decibels(self) -> NDArray[np.float64]:
        """Mean power ``[columns, BANDS]``; that of a sine of full scale is 0 dB."""
        counts = np.maximum(self._grid.values[:, -1:], 1)
        return 10 * np.log10(self._grid.values[:, :-1] / counts + 1e-14)

    def _take(self) -> None:
        # Frames overlap while there are columns for it; a long recording needs each sample once.
        hop = self._size // 4 if self._grid.seconds < self._size / self._rate else self._size
        count = (len(self._left) - self._size) // hop + 1
        if count < 1:
            return
        frames = sliding_window_view(self._left, self._size)[::hop][:count]
        power = np.abs(np.fft.rfft(frames * self._window)) ** 2 / (self._window.sum() / 2) ** 2
        values = np.hstack([power @ self._bank, np.ones((count, 1))])
        times = (self._next + hop * np.arange(count)) / self._rate
        self._grid.add(times, values)
        self._left = self._left[count * hop :]
        self._next += count * hop


def to_mel(hertz: float | NDArray[np.float64]) -> NDArray[np.float64]:
    """Slaney's mel scale: linear to 1 kHz, logarithmic above."""
    f = np.asarray(hertz, np.float64)
    above = 15 + np.log(np.maximum(f, 1000) / 1000) * 27 / np.log(6.4)
    return np.where(f < 1000, f * 3 / 200, above)


def to_hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Its inverse."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def _bank(edges: NDArray[np.float64], bins: NDArray[Any]) -> NDArray[np.float64]:
    """Triangles ``[bins, BANDS]``; one that lies between two bins takes the nearer."""
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    f = bins[:, None]
    up, down = (f - low) / (middle - low), (high - f) / (high - middle)
    bank = np.maximum(0, np.minimum(up, down))
    for band in np.flatnonzero(bank.max(axis=0) == 0):
        bank[np.abs(bins - middle[band]).argmin(), band] = 1
    return bank
