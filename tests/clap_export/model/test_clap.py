"""The two towers together: unit vectors, the temperature, and what may go wrong with either."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from clap_export.model.clap import ClapModel, normalise, unit_and_norm
from tests import tiny


@pytest.fixture(scope="module")
def model() -> ClapModel:
    return tiny.model(tiny.config())


@pytest.mark.parametrize("audio", tiny.AUDIO)
def test_audio_is_mel_encoder_projection_and_unit_norm(audio: str) -> None:
    model = tiny.model(tiny.config(audio))
    with torch.no_grad():
        waveform = tiny.waveforms(4)
        got = model.embed_audio(waveform)
        raw = model.audio_projection(model.audio_encoder(model.mel(waveform))).double().numpy()
    want = raw / np.sqrt((raw**2).sum(axis=1, keepdims=True))
    assert got.shape == (4, tiny.DIM)
    assert got.dtype == torch.float32
    assert np.abs(got.numpy() - want).max() < 1e-6
    assert np.abs(want[0] - want[1]).max() > 0.02  # clips differ


@pytest.mark.parametrize("text", tiny.TEXT)
def test_text_is_encoder_projection_and_unit_norm(text: str) -> None:
    model = tiny.model(tiny.config(text=text))
    batch = tiny.tokens(4, model.config.text_encoder)
    with torch.no_grad():
        got = model.embed_text(**batch)
        raw = model.text_projection(model.text_encoder(**batch)).double().numpy()
    want = raw / np.sqrt((raw**2).sum(axis=1, keepdims=True))
    assert got.shape == (4, tiny.DIM)
    assert np.abs(got.numpy() - want).max() < 1e-6


def test_scale_starts_at_one_over_the_temperature_and_stops_at_100(model: ClapModel) -> None:
    assert math.isclose(ClapModel(model.config).scale().item(), 1 / 0.07, rel_tol=1e-6)
    for stored, wanted in ((0.0, 1.0), (math.log(99.0), 99.0), (math.log(101.0), 100.0), (9, 100)):
        with torch.no_grad():
            model.logit_scale.fill_(stored)
        assert math.isclose(model.scale().item(), wanted, rel_tol=1e-6)


def test_normalise() -> None:
    rows = torch.tensor([[3.0, 4.0], [-1e-6, 0.0], [1e18, 1e18], [0.0, 0.0]])
    root = math.sqrt(0.5)
    want = torch.tensor([[0.6, 0.8], [-1.0, 0.0], [root, root], [0.0, 0.0]])
    assert torch.allclose(normalise(rows), want, atol=1e-6)


def test_a_norm_times_its_unit_vector_is_the_vector() -> None:
    rows = torch.tensor([[3.0, 4.0], [-1e-6, 0.0], [1e18, 1e18], [0.0, 0.0]])
    unit, norm = unit_and_norm(rows)
    assert torch.allclose(norm, torch.tensor([5.0, 1e-6, 1e18 * math.sqrt(2), 1e-12]), rtol=1e-6)
    assert torch.allclose(unit * norm[:, None], rows, rtol=1e-6, atol=0)


def test_normalise_has_finite_gradients_for_a_zero_row() -> None:
    rows = torch.zeros(1, 3, requires_grad=True)
    normalise(rows).sum().backward()
    assert torch.isfinite(rows.grad).all()


def test_normalise_of_half_precision_is_computed_in_float32() -> None:
    row = torch.full((1, 16), 300.0, dtype=torch.float16)  # squares overflow float16
    got = normalise(row)
    assert got.dtype == torch.float32
    assert torch.equal(got, torch.full((1, 16), 0.25))


def test_half_precision_waveform_equals_the_same_samples_in_float32(model: ClapModel) -> None:
    waveform = tiny.waveforms(2).half()
    with torch.no_grad():
        assert torch.equal(model.embed_audio(waveform), model.embed_audio(waveform.float()))


def test_every_parameter_gets_a_gradient_but_the_scale() -> None:
    model = tiny.model(tiny.config("compact"))
    audio = model.embed_audio(tiny.waveforms(3))
    text = model.embed_text(**tiny.tokens(3, model.config.text_encoder))
    (audio * text).sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # Keys' bias shifts all scores of a query alike, which a softmax does not see.
    assert [n for n in without if "key.bias" not in n] == ["logit_scale"]
