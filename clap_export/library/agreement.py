"""Labels that were found beside those that people gave: how often they agree, and what is taken for
what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clap_export.library.given import Given
from clap_export.library.tags import Tagged
from clap_export.metrics import average_precision, wilson


@dataclass(frozen=True)
class OfLabel:
    """One label; shares are None where there is nothing to divide by.

    Attributes:
        label: its name.
        given: recordings that people gave it.
        found: recordings whose best label it is.
        precision: share of those found that were given it.
        recall: share of those given whose best label it is.
        average_precision: of recordings by its score.
    """

    label: str
    given: int
    found: int
    precision: float | None
    recall: float | None
    average_precision: float | None


@dataclass(frozen=True)
class Confusion:
    """Recordings of one given label that got another; None for none at all."""

    given: str
    found: str | None
    count: int


@dataclass(frozen=True)
class Agreement:
    """Of all recordings that people labelled.

    Attributes:
        recordings: that have a vector and a given label among those that could be found.
        unknown: given labels that could not be found, as they are not among the labels.
        accuracy: share whose best label is a given one.
        interval: its 95 % interval.
        kappa: Cohen's, of recordings of one given label: 0 where labels agree as by chance.
        average_precision: mean over the labels that were given.
        labels: one by one.
        confusions: the commonest first.
    """

    recordings: int
    unknown: tuple[str, ...]
    accuracy: float
    interval: tuple[float, float]
    kappa: float
    average_precision: float
    labels: tuple[OfLabel, ...]
    confusions: tuple[Confusion, ...]


class Judge:
    """Gathers what was found for recordings with a given label.

    Args:
        given: by people.
        names: of the labels that can be found.
    """

    def __init__(self, given: Given, names: Sequence[str]) -> None:
        self._given, self._names = given, tuple(names)
        self._place = {name: i for i, name in enumerate(names)}
        self._right: list[frozenset[str]] = []
        self._best: list[str | None] = []
        self._scores: list[NDArray[np.float32]] = []

    def see(self, some: Tagged) -> None:
        """A stretch of the library."""
        for i, key in enumerate(some.stretch.keys):
            right = self._given.of.get(key, frozenset()) & self._place.keys()
            if right:
                best, kept = some.best.places[i], some.best.kept[i]
                self._right.append(right)
                self._best.append(self._names[best[0]] if kept[0] else None)
                self._scores.append(some.scores[i].astype(np.float32))

    def agreement(self) -> Agreement | None:
        """Of all that was seen; None if nothing was."""
        if not self._right:
            return None
        scores = np.stack(self._scores)
        pairs = list(zip(self._right, self._best, strict=True))
        accuracy = float(np.mean([best in right for right, best in pairs]))
        labels = tuple(self._of(name, scores[:, i]) for i, name in enumerate(self._names))
        each = (label.average_precision for label in labels)
        precisions = [value for value in each if value is not None]
        alone = [(next(iter(right)), best) for right, best in pairs if len(right) == 1]
        wrong = Counter(pair for pair in alone if pair[0] != pair[1])
        confusions = sorted(wrong.items(), key=lambda item: (-item[1], str(item[0])))
        unknown = tuple(name for name in self._given.names if name not in self._place)
        return Agreement(
            len(pairs), unknown, accuracy, wilson(accuracy, len(pairs)), _kappa(alone),
            float(np.mean(precisions)), labels,
            tuple(Confusion(given, found, count) for (given, found), count in confusions),
        )  # fmt: skip

    def _of(self, name: str, scores: NDArray[np.float32]) -> OfLabel:
        given = np.array([name in right for right in self._right])
        found = np.array([best == name for best in self._best])
        both = int((given & found).sum())
        return OfLabel(
            name, int(given.sum()), int(found.sum()),
            both / int(found.sum()) if found.any() else None,
            both / int(given.sum()) if given.any() else None,
            average_precision(scores, given) if given.any() else None,
        )  # fmt: skip


def _kappa(pairs: Sequence[tuple[str, str | None]]) -> float:
    """Cohen's (1960): agreement beyond what the frequencies of the labels alone would give."""
    count = len(pairs)
    if not count:
        return 0.0
    given, found = Counter(g for g, _ in pairs), Counter(f for _, f in pairs)
    chance = sum(given[name] * found[name] for name in given) / count**2
    seen = sum(g == f for g, f in pairs) / count
    return 1.0 if chance == 1 else (seen - chance) / (1 - chance)
