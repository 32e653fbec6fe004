"""Values over time in few columns, of a recording whose length nobody knows yet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST = 1200  # columns; a picture has a little more pixels, so that none of them is left out


class Grid:
    """Columns of one length in time. When they are full, each two become one.

    Args:
        rows: values of a column.
        seconds: of a column, at first.
        merge: of values that fall into one column: ``np.add``, or ``np.fmax``.
        empty: what a column holds into which nothing fell.

    Attributes:
        seconds: of a column now.
        used: columns into which something fell, and those before them.
    """

    def __init__(
        self, rows: int, seconds: float, merge: np.ufunc, empty: float, most: int = MOST
    ) -> None:
        self.seconds, self.used = seconds, 0
        self._merge, self._empty = merge, empty
        self._values = np.full((most // 2 * 2, rows), empty, np.float64)

    @property
    def values(self) -> NDArray[np.float64]:
        """``[used, rows]``, to be looked at or changed in place."""
        return self._values[: self.used]

    def add(self, times: NDArray[np.float64], values: NDArray[np.float64]) -> None:
        """Put values ``[n, rows]`` at times ``[n]`` in seconds."""
        if len(times):
            self._make_room(float(times.max()))
            self._merge.at(self._values, self._column(times), values)

    def paint(self, start: float, end: float, row: int, value: float) -> None:
        """Put a value into every column of a stretch of time."""
        self._make_room(end - 1e-9)
        first, last = self._column(np.array([start, max(start, end - 1e-9)]))
        cells = self._values[first : last + 1, row]
        self._merge(cells, value, out=cells)

    def _column(self, times: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.floor(times / self.seconds + 1e-9).astype(np.int64)

    def _make_room(self, time: float) -> None:
        while (column := int(self._column(np.array([time]))[0])) >= len(self._values):
            half = len(self._values) // 2
            self._values[:half] = self._merge(self._values[::2], self._values[1::2])
            self._values[half:] = self._empty
            self.seconds, self.used = 2 * self.seconds, (self.used + 1) // 2
        self.used = max(self.used, column + 1)
