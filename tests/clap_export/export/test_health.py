"""Each finding appears for the checkpoint that deserves it, and for no other."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from clap_export.export.health import examine
from clap_export.export.pack import text_spec
from clap_export.model.clap import ClapModel
from tests import tiny


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    path = tmp_path / "tokenizer.json"
    path.write_text(tiny.tokenizer().to_str(), encoding="utf-8")
    return path


@pytest.fixture
def model() -> ClapModel:
    """As if trained: statistics moved, a scale of its own, embeddings that differ."""
    found = tiny.model(tiny.config())
    for module in found.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean += 0.1  # pyright: ignore[reportOperatorIssue]
    found.logit_scale.data.fill_(3.0)
    for parameter in found.text_encoder.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(0, 0.5, generator=torch.Generator().manual_seed(0))
    return found


def names(model: ClapModel, tokenizer: Path) -> list[str]:
    return [found.name for found in examine(model, text_spec(model.config), tokenizer)]


def test_a_healthy_model_has_none(model: ClapModel, tokenizer: Path) -> None:
    assert names(model, tokenizer) == []


def test_logit_scale(model: ClapModel, tokenizer: Path) -> None:
    model.logit_scale.data.fill_(math.log(1 / 0.07))
    assert names(model, tokenizer) == ["untrained-logit-scale"]
    model.logit_scale.data.fill_(math.log(120))
    (found,) = examine(model, text_spec(model.config), tokenizer)
    assert found.name == "clipped-logit-scale"
    assert "4.787" in found.detail


def test_batch_norm(model: ClapModel, tokenizer: Path) -> None:
    module = model.audio_encoder.bn0
    assert isinstance(module, nn.BatchNorm1d)
    module.reset_running_stats()
    (found,) = examine(model, text_spec(model.config), tokenizer)
    assert found.name == "batch-norm-never-updated"
    assert "audio_encoder.bn0" in found.detail


def test_collapsed_texts(model: ClapModel, tokenizer: Path) -> None:
    last = model.text_projection.linear1
    last.weight.data *= 1e-3
    last.bias.data.fill_(1.0)
    (found,) = examine(model, text_spec(model.config), tokenizer)
    assert found.name == "text-embeddings-collapsed"
    assert "mean cosine of 1.0000" in found.detail or "0.999" in found.detail
