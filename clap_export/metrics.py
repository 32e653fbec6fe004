"""Measures of accuracy, with their intervals and rules for ties."""

from __future__ import annotations

import math

import numpy as np

from runtime.errors import ClapError

Z_95 = 1.959964  # two-sided 95 % quantile of the normal distribution


def wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share among ``count`` independent trials (Wilson 1927)."""
    z2 = Z_95 * Z_95
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z_95 / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    # At 0 and 1 a bound is the share itself, but for rounding.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def average_precision(scores: np.ndarray, right: np.ndarray) -> float:
    """Precision at each distinct score, weighted by the recall that is gained there.

    Equal scores are one step, as in scikit-learn's ``average_precision_score``: the order in which
    clips are listed says nothing of a model and must not move its score.

    Args:
        scores: ``[clips]``.
        right: ``[clips]`` bool, at least one true.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(right[order])
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # of each equal run
    gained = np.diff(hits[last], prepend=0) / hits[-1]
    return float((gained * hits[last] / (last + 1)).sum())


def mean_average_precision(scores: np.ndarray, right: np.ndarray) -> float:
    """Mean over the labels that have a clip (macro mAP, as of FSD50K and AudioSet).

    Args:
        scores: ``[clips, labels]``.
        right: ``[clips, labels]`` bool.

    Raises:
        ClapError: no label has a clip.
    """
    present = np.flatnonzero(right.any(axis=0))
    if not len(present):
        raise ClapError("average precision needs at least one labelled recording: none is.")
    return float(np.mean([average_precision(scores[:, i], right[:, i]) for i in present]))
