"""The moving average, against what it says."""

from __future__ import annotations

import copy

import torch
from torch import nn

from train.machine.moving_average import MovingAverage


def test_it_is_the_mean_that_forgets() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    average, decay = MovingAverage(model, 0.6), 0.6
    wanted: dict[str, torch.Tensor] = {}
    for step in range(12):
        with torch.no_grad():
            for value in model.parameters():
                value.add_(torch.randn(value.shape))
        model(torch.randn(5, 3))  # moves the statistics, and counts
        average.update_parameters(model)
        share = min(decay, (1 + step) / (10 + step)) if step else 0.0
        for name, value in model.state_dict().items():
            before = wanted.get(name, value.double())
            kept = share * before + (1 - share) * value.double()
            wanted[name] = kept if value.is_floating_point() else value.double()
    found = average.module.state_dict()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name].double(), value, rtol=1e-5, atol=1e-6)
    assert int(found["1.num_batches_tracked"]) == int(average.n_averaged) == 12


def test_it_goes_on_from_its_state() -> None:
    model = nn.Linear(2, 2)
    one = MovingAverage(model, 0.9)
    for _ in range(3):
        one.update_parameters(model)
    two = MovingAverage(copy.deepcopy(model), 0.9)
    two.load_state_dict(one.state_dict())
    with torch.no_grad():
        model.weight.mul_(3)
    for each in (one, two):
        each.update_parameters(model)
    torch.testing.assert_close(one.module.weight, two.module.weight, rtol=0, atol=0)
