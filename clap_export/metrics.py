"""Measures of accuracy, with their intervals and rules for ties."""

from __future__ import annotations

import math
from statistics import NormalDist

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


def auroc(scores: np.ndarray, right: np.ndarray) -> float:
    """Area under the ROC curve (Hanley and McNeil 1982): chance that a right one scores higher.

    Equal scores count half.

    Args:
        scores: ``[n]``.
        right: ``[n]`` bool, some of them true and some not.
    """
    ordered = np.sort(scores[~right])
    below = np.searchsorted(ordered, scores[right], side="left")
    upto = np.searchsorted(ordered, scores[right], side="right")
    return float((below + upto).mean() / (2 * len(ordered)))


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


def tolerance_bound(values: np.ndarray, share: float = 0.95, confidence: float = 0.95) -> float:
    """What a share of all recordings stays below, by a sample of them and with a confidence.

    The worst of a sample says little of what was not in it: of ten recordings that all pass, up to
    26 % of others may fail (0.74^10 = 0.05). Two answers are known. Without any assumption, the
    sample's largest value is such a bound once ``1 - share^n >= confidence``, which takes 59
    recordings at 95 % and 95 %. With fewer, the logarithms are taken for normal (distances between
    embeddings are positive, and spread by factors), and the bound is their mean plus ``k`` standard
    deviations, the one-sided tolerance factor of Natrella (1963): 2.9 for 10, 2.2 for 30.

    Args:
        values: ``[n]``, positive, of recordings that do not depend on one another; n at least 2.
        share: of all recordings that is to stay below the bound.
        confidence: of the statement.

    Returns:
        the bound; never below the sample's largest value.
    """
    n, worst = len(values), float(values.max())
    if 1 - share**n >= confidence:
        return worst
    z_share, z_confidence = (NormalDist().inv_cdf(p) for p in (share, confidence))
    a = 1 - z_confidence**2 / (2 * (n - 1))
    b = z_share**2 - z_confidence**2 / n
    if a <= 0 or z_share**2 < a * b:  # two or three values bound nothing
        return math.inf
    k = (z_share + math.sqrt(z_share**2 - a * b)) / a
    logarithms = np.log(values.astype(np.float64))
    return max(worst, float(np.exp(logarithms.mean() + k * logarithms.std(ddof=1))))


def enough_for_worst(share: float = 0.95, confidence: float = 0.95) -> int:
    """How many recordings make the worst of them a bound without any assumption: 59."""
    return math.ceil(math.log(1 - confidence) / math.log(share))
