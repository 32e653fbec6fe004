"""What is seen of a library while it is labelled: counts, agreement, and what an audit needs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clap_export.library.agreement import Judge
from clap_export.library.given import Given
from clap_export.library.item import Key
from clap_export.library.tags import Tagged


class Looked:
    """Takes one stretch after the other.

    Args:
        names: of the labels.
        given: labels that people gave, or None.
        keep: the vectors of recordings with one label, for an audit.

    Attributes:
        counts: recordings whose best label each is, int64 ``[labels]``.
        recordings: all that were seen.
        judge: of what people gave, or None.
    """

    def __init__(self, names: Sequence[str], given: Given | None, keep: bool) -> None:
        self._names, self._given, self._keep = names, given, keep
        self.counts: NDArray[np.int64] = np.zeros(len(names), np.int64)
        self.recordings = 0
        self.judge = None if given is None else Judge(given, names)
        self._keys: list[Key] = []
        self._labels: list[str] = []
        self._vectors: list[NDArray[np.float32]] = []

    @property
    def none(self) -> int:
        """Recordings without a label."""
        return self.recordings - int(self.counts.sum())

    def see(self, some: Tagged) -> None:
        """A stretch of the library."""
        best = some.best
        first = best.places[:, 0][best.kept[:, 0]]
        self.counts += np.bincount(first, minlength=len(self._names))
        self.recordings += len(best.places)
        if self.judge is not None:
            self.judge.see(some)
        if self._keep:
            self._hold(some)

    def labelled(self) -> tuple[list[Key], list[str], NDArray[np.float32]]:
        """Recordings with one label: of those given by people, or else the best one found."""
        dim = self._vectors[0].shape[1] if self._vectors else 0
        empty = np.empty((0, dim), np.float32)
        return self._keys, self._labels, np.concatenate([empty, *self._vectors])

    def _hold(self, some: Tagged) -> None:
        rows: list[int] = []
        for i, key in enumerate(some.stretch.keys):
            if self._given is not None:
                names = self._given.of.get(key, frozenset())
                label = next(iter(names)) if len(names) == 1 else None
            else:
                best = some.best
                label = self._names[int(best.places[i, 0])] if best.kept[i, 0] else None
            if label is not None:
                rows.append(i)
                self._keys.append(key)
                self._labels.append(label)
        self._vectors.append(some.stretch.vectors[rows])
