"""A tagger and a text encoder in one space: the scores by their formula, one dot product."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from clap_export.checkpoints import load, native
from clap_export.model.bridge_config import BridgeConfig
from clap_export.model.clap import ClapModel
from clap_export.model.yamnet import YamnetMel
from runtime import schema
from runtime.errors import SchemaError
from tests import tiny
from tests.goldens import recipe
from tests.places import MINI
from tests.tiny import bridge as tinybridge

pytestmark = pytest.mark.usefixtures("one_thread")


def numbers(model: ClapModel) -> dict[str, np.ndarray]:
    return {name: value.double().numpy() for name, value in model.state_dict().items()}


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def scores(model: ClapModel, clips: torch.Tensor, texts: dict[str, torch.Tensor]) -> np.ndarray:
    """By the formula, in float64 from what the towers give, ``[clips, texts]``."""
    held, config = numbers(model), model.config.bridge
    assert config is not None
    vector = model.audio_encoder(model.mel(clips)).double().numpy()
    states = model.text_projection(model.text_encoder(**texts)).double().numpy()
    heard = sigmoid(vector @ held["bridge.head.weight"].T + held["bridge.head.bias"])
    evidence = np.log((heard + config.floor) / (held["bridge.usual"] + config.floor))
    apart = unit(unit(states) - held["bridge.centre"])
    weight = np.exp(apart @ held["bridge.tags"].T / config.temperature)
    found = evidence @ (weight / weight.sum(1, keepdims=True)).T
    if config.labels:
        near = (unit(states) @ held["bridge.labels"].T).max(1)
        gate = sigmoid((near - config.gate_centre) / config.gate_width)
        mapped = np.sqrt(np.maximum(vector, 0)) @ held["audio_projection.linear1.weight"].T
        mapped += held["audio_projection.linear1.bias"]
        handicap = config.against * config.constant
        found = found + gate * (config.learned * mapped @ apart.T - handicap)
    return found


@pytest.mark.parametrize("labels", [0, 3])
@torch.no_grad()
def test_scores_are_those_of_the_formula(labels: int) -> None:
    model = tinybridge.model("cnn14", labels)
    config = model.config.bridge
    assert config is not None
    assert config.dim == 5 + (12 + 1 if labels else 0) + 1
    clips, texts = tiny.waveforms(6), tiny.tokens(9, model.config.text_encoder)
    audio, text = model.embed_audio(clips).double(), model.embed_text(**texts).double()
    for found in (audio, text):
        assert torch.allclose(found.norm(dim=1), torch.ones(len(found), dtype=torch.float64))
    length = model.raw_audio(model.mel(clips)).double().norm(dim=1, keepdim=True)
    found = (audio @ text.T * length * config.length).numpy()
    wanted = scores(model, clips, texts)
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()
    assert np.ptp(wanted, axis=1).min() > 0.05  # labels differ
    # One dot product of unit vectors ranks every clip's labels as the formula does.
    assert np.array_equal(np.argsort((audio @ text.T).numpy(), 1), np.argsort(wanted, 1))


@pytest.mark.parametrize("audio", ["cnn14", "htsat", "compact"])
@torch.no_grad()
def test_every_encoder_tells_tags(audio: str) -> None:
    """Its embedding is the one that it gives without a bridge."""
    model = tinybridge.model(audio)
    log_mel = model.mel(tiny.waveforms(3))
    vector, tagged = model.audio_encoder.tagged(log_mel)
    assert torch.allclose(vector, model.audio_encoder(log_mel), atol=1e-5)
    assert tagged.shape == (3, 1, model.audio_encoder.tagged_width)
    assert model.embed_audio(tiny.waveforms(3)).shape == (3, model.config.embedding_dim)


@torch.no_grad()
def test_yamnet_hears_what_tensorflows_graph_hears() -> None:
    """Evidence of a window is the mean of the recorded probabilities of its patches."""
    model = tinybridge.yamnet(labels=0)
    assert model.config.bridge is not None
    floor, usual = model.config.bridge.floor, numbers(model)["bridge.usual"]
    sounds = torch.from_numpy(recipe.sound(48_000, 16_000))
    found = model.raw_audio(model.mel(sounds)).numpy()
    with np.load(tinybridge.YAMNET) as golden:
        heard = np.stack([golden[f"scores{i}"][:5].mean(0) for i in range(3)])
    wanted = np.log((heard + floor) / (usual + floor))
    assert np.abs(found[:, :-1] - wanted).max() < 1e-3
    assert np.ptp(wanted) > 1


def test_both_forms_of_yamnets_spectrogram_agree() -> None:
    sounds = torch.from_numpy(recipe.sound(20_000, 16_000))
    mel = YamnetMel()
    quick = mel(sounds)
    mel.use_graph()
    assert quick.shape == (3, 1 + (20_000 - 400) // 160, 64)
    # Magnitudes: what lies far below a loud tone is float32's rounding in either form.
    error = (quick.exp() - mel(sounds).exp()).abs().amax((1, 2))
    assert (error < 3e-6 * quick.exp().amax((1, 2))).all()
    assert mel.state_dict() == {}


def test_texts_near_a_label_alone_have_a_learned_part() -> None:
    model = tinybridge.model("cnn14")
    bridge = model.bridge
    assert bridge is not None
    far = torch.randn(1, tiny.DIM)
    far -= (far @ bridge.labels.T) @ torch.linalg.pinv(bridge.labels.T)  # at right angles to all
    found = bridge.text(torch.cat([bridge.labels[:1], far]))
    gate = found[:, 5:-2].norm(dim=1) / bridge.config.learned
    assert gate[0].item() == pytest.approx(1 / (1 + np.exp(-0.6 / 0.2)), abs=1e-4)
    assert gate[1].item() == pytest.approx(1 / (1 + np.exp(0.4 / 0.2)), abs=1e-4)
    assert torch.allclose(found.norm(dim=1), torch.tensor(bridge.config.length), atol=1e-6)


def test_configs_that_do_not_fit_are_refused() -> None:
    config = tinybridge.bridged(tiny.config())
    assert type(config).from_dict(config.to_dict(), "x") == config
    with pytest.raises(ValueError, match="embedding_dim is 12, the bridge has 19"):
        replace(config, embedding_dim=12)
    with pytest.raises(ValueError, match="hears one window at a time"):
        tinybridge.bridged(tiny.config(tiny.FUSION))
    for change, problem in (
        ({"tags": ()}, "tags: their number is 0"), ({"temperature": 0.0}, "temperature is 0.0"),
        ({"labels": -1}, "labels is -1"), ({"gate_centre": 2.0}, "gate_centre is 2.0"),
        ({"against": float("nan")}, "against is nan"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=problem):
            BridgeConfig(**{"tags": ("a",), "text_dim": 4, **change})
    plain = tinybridge.yamnet().config.to_dict()
    plain["audio"]["mel"]["f_max"] = 8000.0
    with pytest.raises(SchemaError, match="YAMNet hears 16000 Hz by"):
        schema.read(type(config), plain, "x")
    plain["audio"]["mel"]["f_max"] = 7500.0
    plain["audio"].update(window_samples=15_000, hop_samples=15_000)
    with pytest.raises(SchemaError, match="window_samples is 15000, must be from 15600"):
        schema.read(type(config), plain, "x")


def test_a_model_without_a_bridge_keeps_its_space() -> None:
    """clap-mini's, as bundles of it have had it from before there were bridges."""
    assert load(MINI).space_id() == "857b2e4959b8a1afa3cb7653fd6739c8"


def test_a_checkpoint_of_a_bridge_comes_back(tmp_path: Path) -> None:
    model = tinybridge.model()
    native.save(tmp_path / "model.safetensors", model, tiny.tokenizer().to_str())
    found = load(tmp_path / "model.safetensors")
    assert found.model.config == model.config
    assert found.space_id() == tinybridge.checkpoint(model).space_id()
    clips = tiny.waveforms(2)
    assert torch.equal(found.model.embed_audio(clips), model.embed_audio(clips))
