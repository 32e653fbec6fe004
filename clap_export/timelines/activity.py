"""How much of each label was heard over time, for a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clap_export.timelines.grid import Grid
from runtime import Segment

MOST_LABELS = 512  # kept; of a larger bank those that were heard best
SECONDS = 1 / 64  # of a column, at first


@dataclass(frozen=True)
class Row:
    """One label.

    Attributes:
        label: its name.
        peak: its highest score.
        scores: ``[columns]``, each the highest of that time; NaN where nothing was said of it.
    """

    label: str
    peak: float
    scores: NDArray[np.float64]


class Activity:
    """Takes the windows of a timeline, without their overlap, and keeps the best score of each
    column and label.

    Args:
        labels: how many there are.
    """

    def __init__(self, labels: int) -> None:
        rows = min(labels, MOST_LABELS)
        self._grid = Grid(rows, SECONDS, np.fmax, np.nan)
        self._names: dict[str, int] = {}
        self._peaks = np.full(rows, -np.inf)

    @property
    def seconds(self) -> float:
        """Of a column."""
        return self._grid.seconds

    def add(self, share: Segment) -> None:
        """Add a window's share of time."""
        for p in share.predictions:
            row = self._names.get(p.label)
            if row is None:
                row = self._row_for(p.label, p.score)
            if row is not None:
                self._peaks[row] = max(self._peaks[row], p.score)
                self._grid.paint(share.start, share.end, row, p.score)

    def best(self, most: int) -> list[Row]:
        """The labels with the highest peaks; of equal ones those that were heard longer."""
        rows = [
            Row(name, float(self._peaks[i]), self._grid.values[:, i])
            for name, i in self._names.items()
        ]
        rows.sort(key=lambda r: (-round(r.peak, 2), -float(np.nan_to_num(r.scores).sum())))
        return rows[:most]

    def _row_for(self, label: str, score: float) -> int | None:
        """A row for a label that comes for the first time; the weakest makes room."""
        if len(self._names) < len(self._peaks):
            self._names[label] = len(self._names)
            return self._names[label]
        weakest = min(self._names, key=lambda name: self._peaks[self._names[name]])
        row = self._names[weakest]
        if self._peaks[row] >= score:
            return None
        del self._names[weakest]
        self._names[label] = row
        self._peaks[row] = -np.inf
        self._grid.values[:, row] = np.nan
        return row
