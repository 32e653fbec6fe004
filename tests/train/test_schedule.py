"""The learning rate in closed form."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from train.schedule import Plateau, cosine_factor, warmup_factor


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


@pytest.mark.parametrize("rising", [False, True])
@pytest.mark.parametrize("patience", [0, 2])
def test_plateau_cuts_when_pytorchs_does(rising: bool, patience: int) -> None:
    rng = np.random.default_rng(patience)
    values = np.cumsum(rng.normal(0.02 if rising else -0.02, 0.2, 60)) + 5
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.Adam([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, "max" if rising else "min", factor=0.1, patience=patience, eps=0.0
    )
    ours, factors = Plateau(0.1, patience, rising), []
    for value in values.tolist():
        theirs.step(value)
        ours.see(value)
        factors.append(ours.factor)
        assert ours.factor == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-9)
    assert len(set(factors)) > 2


def test_plateau_goes_on_from_its_state() -> None:
    values = [3.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0]
    whole, first, second = (Plateau(0.5, 1, rising=False) for _ in range(3))
    for value in values:
        whole.see(value)
    for value in values[:4]:
        first.see(value)
    second.load_state_dict(first.state_dict())
    for value in values[4:]:
        second.see(value)
    assert second.state_dict() == whole.state_dict()
    assert whole.factor == 0.25


def test_warm_up_alone_stays_at_the_peak() -> None:
    assert [warmup_factor(step, 2) for step in range(4)] == [0.5, 1.0, 1.0, 1.0]
    assert warmup_factor(0, 0) == 1.0
