"""Fit the multi-label calibration: cosine to the probability that a label applies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from clap_export.model.clap import ClapModel
from runtime.errors import ClapError
from runtime.manifest import Calibration
from train.zero_shot.task import TaskResult


def fit(results: Sequence[TaskResult]) -> Calibration:
    """Platt scaling (Platt 1999) on every (clip, label) pair of some evaluated tasks.

    Logistic regression of "this label is the clip's" on the cosine; both classes weigh the same in
    sum, since a deployment's share of true labels is not that of these tasks, so 0.5 is where a
    pair is as likely true as false.

    Raises:
        ClapError: there are no results.
    """
    if not results:
        raise ClapError("there are no tasks to fit a calibration on: give a config with [[tasks]].")
    cosine = np.concatenate([r.scores.ravel() for r in results])
    truth = np.concatenate(
        [(np.arange(len(r.labels))[None, :] == r.truth[:, None]).ravel() for r in results]
    )
    x = torch.from_numpy(cosine.astype(np.float64))
    y = torch.from_numpy(truth.astype(np.float64))
    weight = torch.where(y > 0, 0.5 / y.mean(), 0.5 / (1 - y).mean())
    parameters = torch.tensor([10.0, -3.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([parameters], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        logits = parameters[0] * x + parameters[1]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, y, weight)
        loss.backward()
        return loss

    optimiser.step(closure)  # pyright: ignore[reportArgumentType]
    scale, bias = parameters.tolist()
    return Calibration(scale, bias)


def apply(model: ClapModel, results: Sequence[TaskResult]) -> Calibration:
    """Fit on the results and put the calibration into the model's config."""
    found = fit(results)
    model.config = replace(model.config, calibration=found)
    return found
