"""Logistic regression on vectors, by scikit-learn."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ClapError

STEPS = 1000  # of the solver


@dataclass(frozen=True, eq=False)
class Linear:
    """What makes vectors logits.

    Attributes:
        weights: float64 ``[labels, dim]``.
        biases: float64 ``[labels]``.
    """

    weights: NDArray[np.float64]
    biases: NDArray[np.float64]

    def logits(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Of ``[n, dim]``, float64 ``[n, labels]``."""
        return vectors @ self.weights.T + self.biases

    def corrected(self, scales: NDArray[np.float64], shifts: NDArray[np.float64]) -> Linear:
        """The same with corrected logits: ``scales`` times them, and ``shifts``; one for all, or
        one for each label."""
        return Linear(self.weights * np.reshape(scales, (-1, 1)), self.biases * scales + shifts)


def fit(
    vectors: NDArray[np.float32], right: NDArray[np.bool_], several: bool, penalty: float
) -> Linear:
    """Fit labels.

    Args:
        vectors: ``[n, dim]``.
        right: ``[n, labels]``.
        several: each label by itself, there or not; else one of them for each recording.
        penalty: C, the inverse of how strongly weights are drawn to 0.

    Raises:
        ClapError: scikit-learn is not installed.
    """
    # The bias is not drawn to 0, so that this changes nothing but how soon the solver is there: the
    # vectors of a model point in about the same direction.
    centre = vectors.mean(axis=0, dtype=np.float64)
    centred = vectors - centre
    if several:
        rows = [_binary(centred, column, penalty) for column in right.T]
        weights, biases = (np.stack(values) for values in zip(*rows, strict=True))
    else:
        weights, biases = _one_of(centred, right, penalty)
    return Linear(weights, biases - weights @ centre)


def _one_of(
    vectors: NDArray[np.float64], right: NDArray[np.bool_], penalty: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    count, labels = right.shape
    classes = right.argmax(axis=1)
    there = np.unique(classes)
    # A label whose recordings are all left out is not impossible, but hardly ever the best.
    weights, biases = np.zeros((labels, vectors.shape[1])), np.full(labels, -np.log(2.0 * count))
    if len(there) == 1:
        biases[there] = 0
    elif len(there) == 2:
        one, bias = _binary(vectors, classes == there[1], penalty)
        weights[there], biases[there] = np.stack([-one, one]) / 2, np.array([-bias, bias]) / 2
    else:
        found = _solved(vectors, classes, penalty)
        weights[there], biases[there] = found.coef_, found.intercept_
    biases[np.setdiff1d(np.arange(labels), there)] += biases[there].min()
    return weights, biases


def _binary(
    vectors: NDArray[np.float64], right: NDArray[np.bool_], penalty: float
) -> tuple[NDArray[np.float64], float]:
    if right.all() or not right.any():
        bias = np.log(2.0 * len(right))
        return np.zeros(vectors.shape[1]), float(bias if right.all() else -bias)
    found = _solved(vectors, right, penalty)
    return found.coef_[0], float(found.intercept_[0])


def _solved(vectors: NDArray[np.float64], classes: NDArray[Any], penalty: float) -> Any:
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise ClapError(
            f"a head is fitted by scikit-learn, which cannot be imported ({error}). "
            "Install it: pip install clap-export[heads]"
        ) from error
    with warnings.catch_warnings():
        # Weights that are nearly there are good enough: what they give is measured.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=penalty, max_iter=STEPS).fit(vectors, classes)
