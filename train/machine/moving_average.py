"""A moving average of weights, which generalise better than the last ones of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """The average of a model's weights and buffers; ``update_parameters`` takes in a step.

    Its memory grows with the run up to ``decay``, so that it is of use in the first epochs too.

    Args:
        model: at its first step.
        decay: share of the average that a step leaves, from 0 to below 1.
    """
    return AveragedModel(model, multi_avg_fn=_warm(decay), use_buffers=True)


def _warm(decay: float) -> Callable[[Any, Any, Any], None]:
    def update(averaged: Any, current: Any, count: Any) -> None:
        # Tensors of one type at a time. Whole numbers are counts and position ids: rounded down in
        # every step, an average of equal ones would creep towards 0.
        if not averaged[0].is_floating_point():
            for mean, now in zip(averaged, current, strict=True):
                mean.copy_(now)
            return
        n = int(count)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averaged, current, count)

    return update
