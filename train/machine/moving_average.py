"""A moving average of weights, which generalise better than the last ones of a run."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


class MovingAverage(AveragedModel):
    """The average of a model's weights and buffers; ``update_parameters`` takes in a step.

    Its memory grows with the run up to ``decay``, so that it is of use in the first epochs too. It
    counts steps on the CPU: a GPU is asked for no number.

    Args:
        model: at its first step.
        decay: share of the average that a step leaves, from 0 to below 1.
    """

    n_averaged: torch.Tensor

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, use_buffers=True)
        self._decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take in the weights and buffers of a step."""
        n = int(self.n_averaged)
        share = min(self._decay, (1 + n) / (10 + n)) if n else 0.0
        means, values = ([*m.parameters(), *m.buffers()] for m in (self.module, model))
        for mean, now in zip(means, values, strict=True):
            # Whole numbers are counts and position ids: rounded down in every step, an average of
            # equal ones would creep towards 0.
            if mean.is_floating_point():
                mean.lerp_(now, 1 - share)
            else:
                mean.copy_(now)
        self.n_averaged += 1
