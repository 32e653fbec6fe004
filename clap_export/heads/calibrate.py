"""Logits of recordings that a fit has not seen, to scores that are right as often as they say."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FARTHEST = 4.0  # logarithm of a scale: e^4 is 55
LEAST = 1e-12  # of a probability whose logarithm is taken


def probabilities(logits: NDArray[np.float64], several: bool) -> NDArray[np.float64]:
    """Of labels, float64 ``[n, labels]``."""
    if several:
        return 0.5 * (1.0 + np.tanh(0.5 * logits))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def log_loss(logits: NDArray[np.float64], right: NDArray[np.bool_], several: bool) -> float:
    """Of a recording, in nats; with several labels, of a label of a recording."""
    if several:
        return float(np.logaddexp(0, np.where(right, -logits, logits)).mean())
    chosen = probabilities(logits, several)[np.arange(len(right)), right.argmax(axis=1)]
    return float(-np.log(np.maximum(chosen, LEAST)).mean())


def temperature(logits: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """What logits are multiplied by, so that the log loss is least (Guo et al. 2017).

    It is the loss to targets that are not certain, as :func:`platt`'s: where all of a few
    recordings are right, nothing else would keep the scores from 1.
    """
    from scipy.optimize import minimize_scalar

    count, labels = right.shape
    doubt = 1 / (count / labels + 2)
    targets = np.where(right, 1 - doubt, doubt / (labels - 1))

    def loss(log_scale: float) -> float:
        chosen = probabilities(logits * np.exp(log_scale), several=False)
        return float(-(targets * np.log(np.maximum(chosen, LEAST))).sum(axis=1).mean())

    bounds = (-FARTHEST, FARTHEST)
    found: Any = minimize_scalar(loss, bounds=bounds, method="bounded")
    return float(np.exp(found.x))


def platt(
    logits: NDArray[np.float64], right: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A scale and a shift for each label (Platt 1999), towards his targets: a label that was right
    n times out of n is not taken for certain.

    Returns:
        scales and shifts, float64 ``[labels]``.
    """
    from scipy.optimize import minimize

    scales, shifts = np.ones(logits.shape[1]), np.zeros(logits.shape[1])
    for i, (own, is_right) in enumerate(zip(logits.T, right.T, strict=True)):
        yes, no = int(is_right.sum()), int((~is_right).sum())
        targets = np.where(is_right, (yes + 1) / (yes + 2), 1 / (no + 2))

        def loss(given: Any, own: Any = own, targets: Any = targets) -> float:
            corrected = np.exp(given[0]) * own + given[1]
            return float((np.logaddexp(0, corrected) - targets * corrected).mean())

        found = minimize(
            loss, np.zeros(2), method="L-BFGS-B", bounds=[(-FARTHEST, FARTHEST), (None, None)]
        )
        scales[i], shifts[i] = np.exp(found.x[0]), found.x[1]
    return scales, shifts


def error(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Mean distance between scores and how often they are right, in ten bins of the score.

    Args:
        scores: from 0 to 1, ``[n]``.
        right: ``[n]``.
    """
    bins = np.minimum((scores * 10).astype(int), 9)
    total = 0.0
    for number in np.unique(bins):
        inside = bins == number
        total += float(inside.sum() * abs(scores[inside].mean() - right[inside].mean()))
    return total / len(scores)
