"""The mean of checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clap_export.checkpoints import load, native
from runtime.errors import ClapError
from runtime.manifest import Calibration
from tests import tiny
from train.average import average


def test_every_weight_is_the_mean_and_the_rest_the_first_ones(tmp_path: Path) -> None:
    paths = []
    for seed in range(3):
        model = tiny.model(replace(tiny.config(), calibration=Calibration(seed + 1.0, 0.5)), seed)
        model.audio_encoder.bn0.num_batches_tracked.fill_(10 * seed + 1)
        paths.append(tmp_path / f"{seed}.safetensors")
        native.save(paths[-1], model, tiny.tokenizer().to_str())
    out = tmp_path / "mean.safetensors"
    average(paths, out)
    found, first = load(out), load(paths[0])
    states = [load(path).model.state_dict() for path in paths]
    for name, value in found.model.state_dict().items():
        if value.is_floating_point():
            want = torch.stack([state[name].double() for state in states]).mean(dim=0)
            assert torch.allclose(value.double(), want, rtol=1e-6, atol=1e-9), name
        else:
            assert torch.equal(value, states[0][name]), name
    assert found.model.config == first.model.config
    assert found.tokenizer == first.tokenizer
    assert found.space_id() != first.space_id()


def test_models_that_are_not_alike_are_all_named(tmp_path: Path) -> None:
    first = tiny.save(tmp_path / "first.safetensors")
    others = [
        tiny.save(tmp_path / "ears.safetensors", audio="htsat"),
        tiny.save(tmp_path / "words.safetensors", text="bert-cls"),
    ]
    out = tmp_path / "mean.safetensors"
    with pytest.raises(ClapError) as caught:
        average([first, *others], out)
    assert all(str(path) in str(caught.value) for path in others)
    with pytest.raises(ClapError, match="give at least two"):
        average([first], out)
    assert not out.exists()
