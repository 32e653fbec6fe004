"""A transformers ClapModel folder gives what transformers itself gives, config and all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    ClapAudioConfig,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapTextConfig,
)

from clap_export.checkpoints import Checkpoint, load
from clap_export.export.pack import write_bundle
from runtime import Encoder
from runtime.backends import open_backend
from runtime.errors import ClapError
from tests import originals
from tests.goldens import recipe
from tests.originals import families

RATE, SECONDS = 16_000, 2  # unlike the defaults, so that what is read from the config shows


def save(folder: Path, truncation: str = "rand_trunc", **audio: object) -> Path:
    """A small ClapModel with the recipe's weights, a feature extractor and a tokenizer."""
    sizes = {
        "num_mel_bins": 32, "spec_size": 64, "patch_embeds_hidden_size": 32, "hidden_size": 64,
        "depths": [2, 2], "num_attention_heads": [2, 4], "window_size": 4, "num_hidden_layers": 2,
    }  # fmt: skip
    text = ClapTextConfig(
        vocab_size=200, hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=40, layer_norm_eps=1e-6,
    )  # fmt: skip
    config = ClapConfig(
        text_config=text.to_dict(),
        audio_config=ClapAudioConfig(**(sizes | audio)).to_dict(),
        projection_dim=24,
    )
    model = ClapModel(config)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.from_numpy(recipe.weight(name, tuple(tensor.shape))))
    model.save_pretrained(folder)
    extractor = ClapFeatureExtractor(
        feature_size=32, sampling_rate=RATE, hop_length=256, max_length_s=SECONDS,
        fft_window_size=512, frequency_min=40, frequency_max=7000, truncation=truncation,
        padding="repeat",
    )  # fmt: skip
    extractor.save_pretrained(folder)
    return originals.tokenizer_folder(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("hf") / "my-clap")


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Checkpoint:
    return load(folder)


def test_config_and_extractor_are_taken_over(checkpoint: Checkpoint) -> None:
    config = checkpoint.model.config
    assert config.name == "my-clap"
    assert config.audio.sample_rate == config.audio.mel.sample_rate == RATE
    assert config.audio.window_samples == SECONDS * RATE
    assert config.audio.fill == "repeat"
    assert not config.audio.int16_round_trip
    assert (config.audio.mel.n_fft, config.audio.mel.hop_length) == (512, 256)
    assert (config.audio.mel.f_min, config.audio.mel.f_max) == (40.0, 7000.0)
    # RoBERTa's positions begin behind the padding id: 40 rows hold 38 tokens.
    assert config.text_encoder.max_tokens == 38
    assert checkpoint.source.family == "transformers"


def test_audio(folder: Path, checkpoint: Checkpoint) -> None:
    waveforms = recipe.sound(SECONDS * RATE, RATE)
    extractor = ClapFeatureExtractor.from_pretrained(folder)
    inputs = extractor(list(waveforms), sampling_rate=RATE, return_tensors="pt")
    theirs = ClapModel.from_pretrained(folder).eval()
    with torch.no_grad():
        want = theirs.get_audio_features(**inputs).pooler_output
        want = torch.nn.functional.normalize(want, dim=1).numpy()
        got = checkpoint.model.embed_audio(torch.from_numpy(waveforms)).numpy()
        log_mel = checkpoint.model.mel(torch.from_numpy(waveforms)).numpy()
    assert np.abs(log_mel - inputs["input_features"][:, 0].numpy()).max() < 1e-2  # dB
    assert np.abs(got - want).max() < 2e-5
    assert np.abs(want[0] - want[1]).max() > 1e-2


def test_text(folder: Path, checkpoint: Checkpoint) -> None:
    ids = torch.ones(3, 38, dtype=torch.int64)
    for row, length in enumerate((2, 9, 38)):
        ids[row, :length] = torch.arange(5, 5 + length)
    theirs = ClapModel.from_pretrained(folder).eval()
    with torch.no_grad():
        want = theirs.get_text_features(input_ids=ids, attention_mask=(ids != 1).long())
        want = torch.nn.functional.normalize(want.pooler_output, dim=1).numpy()
        got = checkpoint.model.embed_text(ids, (ids != 1).long()).numpy()
    assert np.abs(got - want).max() < 2e-5
    assert np.abs(want[0] - want[1]).max() > 1e-2


def test_an_old_folder_with_a_pickle(folder: Path, checkpoint: Checkpoint, tmp_path: Path) -> None:
    for name in ("config.json", "preprocessor_config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    torch.save(ClapModel.from_pretrained(folder).state_dict(), tmp_path / "pytorch_model.bin")
    again = load(tmp_path)
    assert again.space_id() == checkpoint.space_id()


def test_what_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ClapError, match=r"config\.json cannot be read"):
        load(tmp_path)
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ClapError, match=r"no model\.safetensors or pytorch_model\.bin"):
        load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(ClapError, match=r"or vocab\.json and merges\.txt"):
        load(tmp_path)


FUSED = {"truncation": "fusion", "enable_fusion": True, "num_mel_bins": 64, "spec_size": 256}


def test_fusion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # transformers' extractor resizes to 64 mel bins, whatever the model's.
    folder = save(tmp_path / "fused", **FUSED)
    extractor = ClapFeatureExtractor(
        feature_size=64, sampling_rate=RATE, hop_length=256, max_length_s=SECONDS,
        fft_window_size=512, frequency_min=40, frequency_max=7000, truncation="fusion",
    )  # fmt: skip
    extractor.save_pretrained(folder)
    checkpoint = load(folder)
    spec = checkpoint.model.config.audio
    assert (spec.long_clips, spec.mel.scale, spec.mel.norm) == ("fusion", "htk", None)
    clips = recipe.clips([SECONDS * RATE, 3 * RATE, 7 * RATE + 11], RATE)
    # Its random chunks, each the middle one of those it may be.
    monkeypatch.setattr("numpy.random.choice", lambda choices: choices[len(choices) // 2])
    inputs = extractor(clips, sampling_rate=RATE, return_tensors="pt")
    assert inputs["is_longer"].flatten().tolist() == [False, True, True]
    theirs = ClapModel.from_pretrained(folder).eval()
    with torch.no_grad():
        want = theirs.get_audio_features(**inputs).pooler_output
        want = torch.nn.functional.normalize(want, dim=1)
        waves = [torch.from_numpy(clip)[None] for clip in clips]
        log_mel = torch.cat([checkpoint.model.hear(wave)[0] for wave in waves])
        got = torch.cat([checkpoint.model.embed_audio(wave) for wave in waves])
        deaf = checkpoint.model.embed_audio(waves[2][:, : SECONDS * RATE])
    wanted = inputs["input_features"]
    loud = wanted > wanted.amax(dim=(-2, -1), keepdim=True) - 60
    assert (log_mel - wanted)[loud].abs().max() < 1e-2  # dB
    assert (got - want).abs().max() < 2e-5
    assert (want[2] - deaf[0]).abs().max() > 1e-2  # of its first window alone


def test_other_models_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ClapError, match="enable_fusion True with truncation rand_trunc"):
        load(save(tmp_path / "mixed", enable_fusion=True))
    with pytest.raises(ClapError, match="no fusion_type channel_map"):
        load(save(tmp_path / "map", "fusion", enable_fusion=True, fusion_type="channel_map"))
    raw = json.loads((folder / "config.json").read_text())
    (folder.parent / "other").mkdir()
    for name in ("preprocessor_config.json", "model.safetensors"):
        (folder.parent / "other" / name).write_bytes((folder / name).read_bytes())
    (folder.parent / "other" / "config.json").write_text(json.dumps(raw | {"model_type": "clip"}))
    with pytest.raises(ClapError, match="not of a ClapModel"):
        load(folder.parent / "other")


def test_a_name_that_is_neither_here_nor_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ClapError, match="nobody/no-model is no file or folder here"):
        load("nobody/no-model")
    with pytest.raises(ClapError, match="does not exist"):
        load("no-model")


def test_a_tensor_too_many_or_too_few_is_listed(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "preprocessor_config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    state = ClapModel.from_pretrained(folder).state_dict()
    state["surplus"] = torch.ones(1)
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(ClapError, match="unexpected 'surplus'"):
        load(tmp_path)
    del state["surplus"], state["audio_projection.linear2.bias"]
    del state["audio_model.audio_encoder.layers.0.blocks.0.attention.self.key.bias"]
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(ClapError) as caught:
        load(tmp_path)
    assert "missing 'audio_projection.linear2.bias'" in str(caught.value)
    assert "layers.0.blocks.0.attn.qkv.bias" in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["transformers", "transformers-fused"])
def test_full_size_through_the_runtime(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numpy.random.choice", lambda choices: choices[len(choices) // 2])
    folder = originals.clap_model(tmp_path / "clap", fused=name == "transformers-fused")
    checkpoint = load(folder)
    write_bundle(checkpoint, tmp_path / "bundle")
    lengths = recipe.FUSED_LENGTHS if name == "transformers-fused" else [480_000] * 3
    clips = recipe.clips(lengths, 48_000)
    ids = torch.ones(3, 77, dtype=torch.int64)
    for row, length in enumerate((2, 9, 77)):
        ids[row, :length] = torch.arange(5, 5 + length)
    tokens = {"input_ids": ids, "attention_mask": (ids != 1).long()}
    extractor = ClapFeatureExtractor.from_pretrained(folder)
    theirs = ClapModel.from_pretrained(folder).eval()
    with torch.no_grad():
        inputs = extractor(clips, sampling_rate=48_000, return_tensors="pt")
        audio = theirs.get_audio_features(**inputs).pooler_output
        text = theirs.get_text_features(**tokens).pooler_output
    with Encoder(tmp_path / "bundle") as encoder:
        audio_got = encoder.embed_audio(clips, sample_rate=48_000)
        graph = open_backend(tmp_path / "bundle" / encoder.manifest.text_graph.file)
        text_got = graph.run({key: value.numpy() for key, value in tokens.items()})["embedding"]
    errors = [
        float(np.abs(got - torch.nn.functional.normalize(want, dim=1).numpy()).max())
        for got, want in ((audio_got, audio), (text_got, text))
    ]
    assert max(errors) < 2e-5
    families.note(name, audio_error=errors[0], text_error=errors[1])
    families.note(name, **families.facts(checkpoint.model, "transformers"))
