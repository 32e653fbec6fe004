"""The learning rate in closed form."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from train.schedule import cosine_factor


def test_warms_up_in_equal_steps_and_reaches_the_peak() -> None:
    assert [cosine_factor(step, 100, 4) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_falls_by_half_a_cosine_to_zero() -> None:
    assert cosine_factor(25, 100, 0) == pytest.approx(0.5 + math.sqrt(0.125))
    assert cosine_factor(50, 100, 0) == pytest.approx(0.5)
    assert cosine_factor(75, 100, 0) == pytest.approx(0.5 - math.sqrt(0.125))
    assert cosine_factor(55, 100, 10) == pytest.approx(0.5)  # half way behind the warm-up
    assert cosine_factor(100, 100, 0) == cosine_factor(130, 100, 10) == 0.0


def test_falls_all_the_way() -> None:
    factors = [cosine_factor(step, 100, 10) for step in range(10, 101)]
    assert all(a > b for a, b in pairwise(factors))


def test_a_run_that_is_all_warm_up_does_not_divide_by_zero() -> None:
    assert [cosine_factor(step, 2, 2) for step in range(3)] == [0.5, 1.0, 1.0]
