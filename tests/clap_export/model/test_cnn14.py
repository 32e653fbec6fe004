"""CNN14 against a slow float64 reference, and its ONNX graph against itself."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from clap_export.model.cnn14 import Cnn14
from clap_export.model.config import Cnn14Config

TINY = Cnn14Config(n_mels=9, width=7, channels=(3, 5, 6))  # 9 mel bins: pooling must drop one


def random_encoder(config: Cnn14Config) -> Cnn14:
    """An encoder with every weight, bias and statistic random."""
    torch.manual_seed(0)
    encoder = Cnn14(config).eval()
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.2)
            nn.init.normal_(module.bias, 0.3, 0.3)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    encoder.bn0.running_mean.sub_(40.0)
    encoder.bn0.running_var.mul_(400.0)
    nn.init.normal_(encoder.fc1.bias)
    return encoder


def decibels(batch: int, frames: int, n_mels: int) -> Tensor:
    """Random log-mel spectrograms with the range of real ones, [batch, frames, n_mels]."""
    generator = torch.Generator().manual_seed(frames)
    return -40.0 + 20.0 * torch.randn(batch, frames, n_mels, generator=generator)


def slow_cnn14(encoder: Cnn14, log_mel: np.ndarray) -> np.ndarray:
    """The forward pass of one clip in loops, float64.

    Args:
        encoder: where the weights come from.
        log_mel: spectrogram, [frames, n_mels].

    Returns:
        Embedding, [width].
    """
    weights = {name: value.double().numpy() for name, value in encoder.state_dict().items()}

    def batch_norm(x: np.ndarray, name: str) -> np.ndarray:  # channels last
        mean, var = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        x = (x - mean) / np.sqrt(var + 1e-5)
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def conv3x3(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        frames, mels, _ = x.shape
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        out = np.empty((frames, mels, kernel.shape[0]))
        for t in range(frames):
            for f in range(mels):
                patch = padded[t : t + 3, f : f + 3]  # [time, mel, channel]
                out[t, f] = np.einsum("tfi,oitf->o", patch, kernel)
        return out

    def pool2x2(x: np.ndarray) -> np.ndarray:
        frames, mels = x.shape[0] // 2, x.shape[1] // 2
        out = np.empty((frames, mels, x.shape[2]))
        for t in range(frames):
            for f in range(mels):
                out[t, f] = x[2 * t : 2 * t + 2, 2 * f : 2 * f + 2].mean(axis=(0, 1))
        return out

    x = batch_norm(log_mel.astype(np.float64), "bn0")[:, :, None]
    blocks = len(encoder.config.channels)
    for index in range(blocks):
        for layer in (1, 2):
            x = conv3x3(x, weights[f"blocks.{index}.conv{layer}.weight"])
            x = np.maximum(batch_norm(x, f"blocks.{index}.bn{layer}"), 0.0)
        if index < blocks - 1:
            x = pool2x2(x)
    x = x.mean(axis=1)  # [frames, channels]
    x = x.max(axis=0) + x.mean(axis=0)
    return np.maximum(weights["fc1.weight"] @ x + weights["fc1.bias"], 0.0)


@pytest.mark.parametrize("frames", [4, 21])
def test_matches_the_slow_reference(frames: int) -> None:
    encoder = random_encoder(TINY)
    log_mel = decibels(3, frames, TINY.n_mels)
    with torch.inference_mode():
        got = encoder(log_mel).numpy()
    want = np.stack([slow_cnn14(encoder, clip) for clip in log_mel.numpy()])
    assert got.shape == (3, encoder.width)
    assert (want > 0).mean() > 0.3  # the last ReLU leaves enough to compare
    assert np.abs(got - want).max() < 1e-5 * np.abs(want).max()


def closed_form_parameters(config: Cnn14Config) -> int:
    """Weights and biases, counted from the table in the paper."""
    total = 2 * config.n_mels
    before = 1
    for after in config.channels:
        total += 9 * before * after + 9 * after * after + 2 * 2 * after
        before = after
    return total + before * config.width + config.width


@pytest.mark.parametrize(("config", "count"), [(TINY, 1185), (Cnn14Config(), 79_673_792)])
def test_parameter_count(config: Cnn14Config, count: int) -> None:
    with torch.device("meta"):
        encoder = Cnn14(config)
    assert sum(p.numel() for p in encoder.parameters()) == closed_form_parameters(config) == count


def test_normalisation_learns_each_mel_bin_over_clips_and_frames() -> None:
    encoder = Cnn14(TINY).train()
    log_mel = decibels(4, 25, TINY.n_mels) + 10.0 * torch.arange(9)
    encoder(log_mel)
    frames = log_mel.double().numpy().reshape(-1, TINY.n_mels)
    mean, var = encoder.bn0.running_mean.numpy(), encoder.bn0.running_var.numpy()
    np.testing.assert_allclose(mean, 0.1 * frames.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(var, 0.9 + 0.1 * frames.var(axis=0, ddof=1), rtol=1e-5)


def test_starts_xavier_uniform() -> None:
    encoder = Cnn14(dataclasses.replace(TINY, channels=(16, 32)))
    for weight, fans in (
        (encoder.blocks[1].conv1.weight, 9 * (16 + 32)),
        (encoder.fc1.weight, 32 + TINY.width),
    ):
        bound = (6 / fans) ** 0.5
        assert 0.9 * bound < weight.abs().max() <= bound
    assert encoder.fc1.bias.count_nonzero() == 0


@pytest.mark.parametrize("part", ["block_dropout", "head_dropout"])
def test_dropout_acts_in_training_only(part: str) -> None:
    off = {"block_dropout": 0.0, "head_dropout": 0.0}
    encoder = Cnn14(dataclasses.replace(TINY, **{**off, part: 0.5}))
    log_mel = decibels(2, 21, TINY.n_mels)
    with torch.no_grad():
        assert not torch.equal(encoder.train()(log_mel), encoder(log_mel))
        assert torch.equal(encoder.eval()(log_mel), encoder(log_mel))


def test_every_parameter_gets_a_gradient() -> None:
    encoder = random_encoder(TINY).train()
    encoder(decibels(4, 21, TINY.n_mels)).square().sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None] == []


def test_half_precision_behind_a_float32_normalisation() -> None:
    encoder = random_encoder(TINY)
    log_mel = decibels(3, 21, TINY.n_mels)
    with torch.inference_mode():
        want = encoder(log_mel)
        encoder.half().bn0.float()
        got = encoder(log_mel)
    assert got.dtype == torch.float16
    assert torch.cosine_similarity(got.float(), want).min() > 0.9999


def test_too_few_frames_or_other_mel_bins_are_refused() -> None:
    encoder = Cnn14(TINY)
    with pytest.raises(ValueError, match="3 frames of 9 mel bins; this encoder takes at least 4"):
        encoder(decibels(1, 3, 9))
    with pytest.raises(ValueError, match="21 frames of 8 mel bins"):
        encoder(decibels(1, 21, 8))


def test_impossible_configs_are_refused() -> None:
    with pytest.raises(ValueError, match="channels is empty"):
        Cnn14Config(channels=())
    with pytest.raises(ValueError, match="n_mels 31 is too small"):
        Cnn14Config(n_mels=31)


def test_config_survives_json() -> None:
    assert Cnn14Config(**json.loads(json.dumps(dataclasses.asdict(TINY)))) == TINY


def test_onnx_graph_is_clean_and_equal(tmp_path: Path) -> None:
    encoder, frames, path = random_encoder(TINY), 21, tmp_path / "cnn14.onnx"
    torch.onnx.export(
        encoder,
        (decibels(2, frames, TINY.n_mels),),
        path,
        dynamo=True,
        opset_version=20,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        input_names=["log_mel"],
        output_names=["embedding"],
        external_data=False,
        verbose=False,
    )
    counts = Counter(node.op_type for node in onnx.load(path).graph.node)
    assert counts["Conv"] == 2 * len(TINY.channels)
    assert counts["BatchNormalization"] <= 1  # those behind a convolution are folded into it
    assert set(counts) <= {
        *("BatchNormalization", "Conv", "Relu", "AveragePool"),
        *("ReduceMean", "ReduceMax", "Add", "Gemm", "Reshape"),
    }
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 2, 5):
        log_mel = decibels(batch, frames, TINY.n_mels)
        with torch.inference_mode():
            want = encoder(log_mel).numpy()
        (got,) = session.run(None, {"log_mel": log_mel.numpy()})
        assert got.shape == want.shape
        assert np.abs(got - want).max() < 1e-5 * np.abs(want).max()


PATCHES = dataclasses.replace(TINY, patch_frames=6)


def test_patches_are_heard_one_by_one() -> None:
    encoder, clips = random_encoder(PATCHES), decibels(3, 20, 9)  # three patches, two frames left
    whole = random_encoder(TINY)
    with torch.no_grad():
        vector, each = encoder.tagged(clips)
        for i in range(3):
            alone = whole(clips[:, 6 * i : 6 * i + 6])
            torch.testing.assert_close(each[:, i], alone)
        torch.testing.assert_close(vector, each.mean(dim=1))
        torch.testing.assert_close(encoder(clips), vector)
        longer = torch.cat([clips[:, :18], 5 * clips[:, 18:]], dim=1)
        torch.testing.assert_close(encoder(longer), vector)


def test_less_than_a_patch_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 6 frames of 9"):
        random_encoder(PATCHES)(decibels(1, 5, 9))
    with pytest.raises(ValueError, match=r"patch_frames is 3, must be from 4 to"):
        dataclasses.replace(TINY, patch_frames=3)


def test_patches_in_a_graph(tmp_path: Path) -> None:
    encoder, path = random_encoder(PATCHES), tmp_path / "patches.onnx"
    torch.onnx.export(
        encoder, (decibels(2, 20, 9),), str(path), input_names=["x"], output_names=["y"],
        dynamic_axes={"x": {0: "batch"}}, dynamo=False,
    )  # fmt: skip
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for batch in (1, 5):
        clips = decibels(batch, 20, 9)
        with torch.no_grad():
            want = encoder(clips).numpy()
        (found,) = session.run(None, {"x": clips.numpy()})
        np.testing.assert_allclose(found, want, atol=1e-5)
