"""Measures of accuracy against closed forms, slow twins and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clap_export import metrics
from clap_export.metrics import average_precision, enough_for_worst, tolerance_bound, wilson
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


def test_auroc_is_scikit_learns_with_and_without_ties() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(4)
    for levels in (1, 2, 5, 1000):
        for _ in range(25):
            scores = rng.integers(0, levels, 40) / levels
            right = rng.random(40) < 0.3
            right[:2] = True, False
            want = roc_auc_score(right, scores)
            assert metrics.auroc(scores, right) == pytest.approx(want, abs=1e-12)


def test_the_tolerance_factor_is_that_of_the_noncentral_t() -> None:
    from scipy.stats import nct, norm

    rng = np.random.default_rng(0)
    for n in (6, 8, 10, 20, 40, 58):
        exact = nct.ppf(0.95, n - 1, norm.ppf(0.95) * math.sqrt(n)) / math.sqrt(n)
        logarithms = rng.standard_normal(n)
        found = tolerance_bound(np.exp(logarithms))
        k = (math.log(found) - logarithms.mean()) / logarithms.std(ddof=1)
        assert k == pytest.approx(exact, rel=0.015)


@pytest.mark.parametrize("n", [6, 12, 30, 59, 100])
def test_the_tolerance_bound_holds_as_often_as_it_says(n: int) -> None:
    rng = np.random.default_rng(n)
    true = math.exp(1.6448536)  # below which 95 % of exp(normal) lie
    bounds = [tolerance_bound(np.exp(rng.standard_normal(n))) for _ in range(2000)]
    held = float(np.mean(np.array(bounds) >= true))
    assert held > 0.94  # 0.95, but for the chance of 2000 draws
    assert held < (0.965 if n < 60 else 1.0)


def test_many_bound_by_their_worst_and_few_by_nothing() -> None:
    values = np.linspace(1, 2, 59)
    assert enough_for_worst() == 59
    assert tolerance_bound(values) == 2
    assert tolerance_bound(values[:58]) > values[57]
    assert tolerance_bound(np.ones(10)) == 1
    assert tolerance_bound(np.array([1.0, 1.1])) == math.inf
