"""The three projections in closed form, float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from clap_export.model.config import ProjectionConfig
from clap_export.model.projection import Projection

KEYS = {
    "linear": ["linear1.bias", "linear1.weight"],
    "mlp": ["linear1.bias", "linear1.weight", "linear2.bias", "linear2.weight"],
    "residual": ["linear1.weight", "linear2.weight", "norm.bias", "norm.weight"],
}


def projection(kind, dropout: float = 0.0) -> Projection:
    torch.manual_seed(1)
    made = Projection(ProjectionConfig(kind, dropout), 7, 5)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0.3, 1.0)
    return made


def slow(kind: str, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """One vector, ``[width]`` to ``[dim]``."""
    first = weights["linear1.weight"] @ x + weights.get("linear1.bias", 0.0)
    if kind == "linear":
        return first
    if kind == "mlp":
        return weights["linear2.weight"] @ np.maximum(first, 0.0) + weights["linear2.bias"]
    gelu = np.array([v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in first])
    total = first + weights["linear2.weight"] @ gelu
    centred = total - total.mean()
    unit = centred / math.sqrt((centred**2).mean() + 1e-5)
    return unit * weights["norm.weight"] + weights["norm.bias"]


@pytest.mark.parametrize("kind", KEYS)
def test_closed_form(kind) -> None:
    made = projection(kind)
    assert sorted(made.state_dict()) == KEYS[kind]
    weights = {name: value.double().numpy() for name, value in made.state_dict().items()}
    x = 2 * torch.randn(4, 7)
    with torch.no_grad():
        got = made(x).numpy()
    want = np.stack([slow(kind, weights, row) for row in x.double().numpy()])
    assert got.shape == (4, 5)
    assert np.abs(got - want).max() < 1e-5 * np.abs(want).max()


def test_dropout_acts_on_the_residual_branch_in_training_only() -> None:
    made, x = projection("residual", dropout=1.0), torch.randn(3, 7)
    made.train()
    first = x @ made.linear1.weight.T
    norm = nn.functional.layer_norm(first, (5,), made.norm.weight, made.norm.bias)
    assert torch.allclose(made(x), norm, atol=1e-6)  # everything dropped but the straight path
    with torch.no_grad():
        assert torch.equal(made.eval()(x), projection("residual")(x))
