"""Measures of accuracy against closed forms, slow twins and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clap_export import metrics
from clap_export.metrics import average_precision, wilson
from runtime.errors import ClapError


def test_wilson_is_where_the_score_test_turns() -> None:
    for share, count in ((0.826, 2000), (0.5, 7), (0.0, 30), (1.0, 30)):
        low, high = wilson(share, count)
        assert 0 <= low <= share <= high <= 1
        for bound in (low, high):
            if 0 < bound < 1:
                # The bound is the p whose own normal interval just reaches the share.
                z = abs(share - bound) / math.sqrt(bound * (1 - bound) / count)
                assert z == pytest.approx(1.959964, rel=1e-6)


def test_average_precision_of_the_worst_order() -> None:
    scores, right = np.array([4.0, 3, 2, 1]), np.array([False, False, True, True])
    assert average_precision(scores, right) == pytest.approx((1 / 3 + 2 / 4) / 2)


def slow_average_precision(scores: np.ndarray, right: np.ndarray) -> float:
    """Walk down the thresholds, and add precision times the recall that each one gains."""
    total, recall = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        said = scores >= threshold
        hits = int((said & right).sum())
        now = hits / int(right.sum())
        total += (now - recall) * hits / int(said.sum())
        recall = now
    return total


def test_average_precision_in_closed_form() -> None:
    scores = np.array([4.0, 3, 2, 1])
    best = np.array([1, 1, 0, 0], bool)
    assert metrics.average_precision(scores, best) == 1.0
    assert metrics.average_precision(scores, ~best) == pytest.approx((1 / 3 + 2 / 4) / 2)
    # All alike: whatever the order, the share of the right ones.
    assert metrics.average_precision(np.ones(4), np.array([0, 0, 0, 1], bool)) == 0.25


def test_average_precision_is_the_slow_ones_with_ties_in_any_order() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores = rng.integers(0, 6, 25).astype(float)
        right = rng.random(25) < 0.3
        right[0] = True
        want = slow_average_precision(scores, right)
        assert metrics.average_precision(scores, right) == pytest.approx(want, abs=1e-12)
        order = rng.permutation(25)
        assert metrics.average_precision(scores[order], right[order]) == pytest.approx(want)


def test_mean_average_precision_leaves_out_labels_without_clips() -> None:
    scores = np.array([[3.0, 1, 0], [2, 2, 9], [1, 3, 8]])
    right = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0]], bool)
    assert metrics.mean_average_precision(scores, right) == pytest.approx((1 + 1 / 2) / 2)
    with pytest.raises(ClapError, match="at least one labelled recording"):
        metrics.mean_average_precision(scores, np.zeros((3, 3), bool))


def test_average_precision_is_scikit_learns_with_and_without_ties() -> None:
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(3)
    for levels in (2, 3, 10, 1000):
        for _ in range(50):
            scores = rng.integers(0, levels, 40) / levels
            right = rng.random(40) < 0.3
            right[0] = True
            want = average_precision_score(right, scores)
            assert average_precision(scores, right) == pytest.approx(want, abs=1e-12)
