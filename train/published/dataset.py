"""Labelled recordings of a benchmark, and which of them are for training and for test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.errors import ClapError

TRAIN, TEST = "train", "test"


@dataclass(frozen=True)
class LabelledFile:
    """A recording.

    Attributes:
        labels: every class that it belongs to.
        fold: ``train`` or ``test`` where the benchmark has one split, else the name of its fold.
    """

    path: Path
    labels: tuple[str, ...]
    fold: str


@dataclass(frozen=True)
class Dataset:
    """What a reader found.

    Attributes:
        labels: the candidates, also those without a recording.
        absent: recordings that are listed and not there, where a benchmark allows that.
    """

    labels: tuple[str, ...]
    items: tuple[LabelledFile, ...]
    absent: int

    def test_items(self) -> tuple[LabelledFile, ...]:
        """What zero-shot numbers are taken on: the test split, or every fold.

        Raises:
            ClapError: there is none.
        """
        found = tuple(item for item in self.items if item.fold != TRAIN)
        if not found:
            raise ClapError(f"all {len(self.items)} recordings are for training: none is for test.")
        return found

    def truth(self) -> np.ndarray:
        """``[items, labels]`` bool: which labels are right."""
        index = {label: i for i, label in enumerate(self.labels)}
        right = np.zeros((len(self.items), len(self.labels)), bool)
        for row, item in enumerate(self.items):
            right[row, [index[label] for label in item.labels]] = True
        return right

    def splits(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Indices of the items to train on and to test on: one pair, or one for each fold.

        Raises:
            ClapError: nothing to train on.
        """
        folds = np.array([item.fold for item in self.items])
        named = [TEST] if TEST in folds else sorted(set(folds) - {TRAIN})
        pairs = [(np.flatnonzero(folds != name), np.flatnonzero(folds == name)) for name in named]
        if any(not len(train) for train, _ in pairs):
            raise ClapError(
                f"supervised set-ups need recordings to train on, but all {len(folds)} are of "
                f"fold {named[0]}: get the rest of the data set, or leave --supervised out."
            )
        return pairs


def spread_folds(labels: list[str], count: int) -> list[str]:
    """Folds for benchmarks that publish none: the n-th recording of a class goes to fold n % count.

    Args:
        labels: class of each recording, in the order of their file names.
        count: number of folds.

    Returns:
        the name of each recording's fold, ``1`` to ``count``.
    """
    seen: dict[str, int] = {}
    folds = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        folds.append(str((seen[label] - 1) % count + 1))
    return folds
