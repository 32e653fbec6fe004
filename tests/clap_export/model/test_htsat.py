"""HTSAT against transformers' ClapAudioModel, and its ONNX graph against itself."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import ClapAudioConfig, ClapAudioModel

from clap_export.model.config import HtsatConfig
from clap_export.model.htsat import CACHED_LENGTHS, Htsat, stretch_matrix
from clap_export.model.swin import PatchMerging, SwinBlock, window_order

# 16 mel bins fold 4 times into 64 x 64: at most 256 frames; grids of 16, 8 and 4 tokens a side.
TINY = HtsatConfig(
    n_mels=16,
    spec_size=64,
    embed_dim=8,
    depths=(2, 2, 2),
    num_heads=(2, 4, 4),
    window_size=4,
    drop_path_rate=0.0,
)
FULL = HtsatConfig(drop_path_rate=0.0)
TINY_FRAMES = TINY.max_frames - 6  # as 1001 of 1024: a little short
# Theirs to ours, inside a block. In this order: "output.dense" ends two of their names.
BLOCK_NAMES = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.output.dense": "attn.proj",
    "attention.self": "attn",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}


def reference(config: HtsatConfig) -> ClapAudioModel:
    """transformers' encoder with every weight, bias and statistic random."""
    model = ClapAudioModel(
        ClapAudioConfig(
            num_mel_bins=config.n_mels,
            spec_size=config.spec_size,
            patch_size=config.patch_size,
            patch_stride=(config.patch_size, config.patch_size),
            patch_embeds_hidden_size=config.embed_dim,
            hidden_size=config.dim(len(config.depths) - 1),
            depths=list(config.depths),
            num_attention_heads=list(config.num_heads),
            window_size=config.window_size,
            mlp_ratio=config.mlp_ratio,
            qkv_bias=config.qkv_bias,
            enable_fusion=False,
        )
    ).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                noise = torch.randn(value.shape, generator=generator)
                if name.endswith("running_var"):
                    value.copy_(300.0 + 200.0 * torch.rand(value.shape, generator=generator))
                elif name.endswith("running_mean"):
                    value.copy_(-40.0 + 10.0 * noise)
                elif "norm" in name and name.endswith("weight"):
                    value.copy_(1.0 + 0.2 * noise)
                elif "bias" in name:
                    value.copy_(0.5 * noise)
                else:
                    value.copy_(noise / value[0].numel() ** 0.5)
    return model


def converted(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """transformers' state dict under our names, query, key and value joined."""
    ours: dict[str, Tensor] = {}
    for key, value in theirs.items():
        name = key.removeprefix("audio_encoder.").replace("batch_norm.", "bn0.")
        block, _, inside = name.partition(".attention.self.")
        if inside == "relative_position_index":
            continue  # follows from the window size
        if inside.startswith("query."):
            parts = [theirs[key.replace("query", part)] for part in ("query", "key", "value")]
            ours[f"{block}.attn.qkv.{inside.removeprefix('query.')}"] = torch.cat(parts)
        elif inside.startswith(("key.", "value.")):
            continue  # came with its query
        else:
            for old, new in BLOCK_NAMES.items():
                name = name.replace(f".{old}", f".{new}")
            ours[name] = value
    return ours


def pair(config: HtsatConfig) -> tuple[Htsat, ClapAudioModel]:
    """Ours and theirs with the same weights."""
    theirs, ours = reference(config), Htsat(config).eval()
    ours.load_state_dict(converted(theirs.state_dict()), strict=True)
    return ours, theirs


def decibels(batch: int, frames: int, n_mels: int) -> Tensor:
    """Random log-mel spectrograms with the range of real ones, [batch, frames, n_mels]."""
    generator = torch.Generator().manual_seed(frames)
    return -40.0 + 20.0 * torch.randn(batch, frames, n_mels, generator=generator)


def assert_same_as_transformers(config: HtsatConfig, batch: int, frames: int) -> None:
    ours, theirs = pair(config)
    log_mel = decibels(batch, frames, config.n_mels)
    with torch.inference_mode():
        got = ours(log_mel)
        want = theirs(log_mel[:, None], is_longer=torch.zeros(batch, 1)).pooler_output
    assert got.shape == want.shape == (batch, ours.width)
    assert want.std() > 0.1  # an output near zero would agree with anything
    assert (got - want).abs().max() < 1e-5


def test_tags_are_those_of_the_originals_convolution() -> None:
    """HTS-AT's classifier on transformers' last map, ``[batch, width, bands, time]``."""
    ours, theirs = pair(replace(TINY, depths=(2, 2), num_heads=(2, 4)))
    log_mel = decibels(2, 97, TINY.n_mels)
    with torch.inference_mode():
        found = theirs(log_mel[:, None], is_longer=torch.zeros(2, 1)).last_hidden_state
        kernel = torch.randn(7, ours.width, found.shape[2], 3)
        want = F.conv2d(found, kernel, padding=(0, 1)).flatten(2).mean(dim=2)
        vector, tagged = ours.tagged(log_mel)
        got = tagged[:, 0] @ kernel.flatten(1).T
    assert found.shape[2] > 1
    assert (vector - ours(log_mel)).abs().max() < 1e-6
    assert (got - want).abs().max() < 1e-4 * want.abs().max()


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("frames", [1, 97, TINY_FRAMES, TINY.max_frames])
def test_tiny_matches_transformers(batch: int, frames: int) -> None:
    assert_same_as_transformers(TINY, batch, frames)


def test_without_qkv_bias_matches_transformers() -> None:
    assert_same_as_transformers(dataclasses.replace(TINY, qkv_bias=False), 2, TINY_FRAMES)


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "frames"), [(1, 1001), (3, 1001), (1, 690), (3, 1024)])
def test_full_size_matches_transformers(batch: int, frames: int) -> None:
    assert_same_as_transformers(FULL, batch, frames)


@pytest.mark.parametrize("frames", [1, 2, 130, 690, 965, 1001, 1023])
def test_stretch_matrix_is_the_bicubic_resize(frames: int) -> None:
    x = torch.randn(2, 5, frames, generator=torch.Generator().manual_seed(0))
    image = x.transpose(1, 2)[:, None]  # [batch, 1, frames, bins], as the references resize it
    want = F.interpolate(image, (1024, 5), mode="bicubic", align_corners=True)[:, 0]
    got = x @ stretch_matrix(frames, 1024)
    assert (got.transpose(1, 2) - want).abs().max() < 1e-6


def slow_block(block: SwinBlock, x: np.ndarray, window: int, shift: int) -> np.ndarray:
    """A Swin block from its definition, float64: no rolling, no windows cut out, no mask of -100.

    Tokens see each other where their cells of a grid with lines at shift, shift + window, ... are
    the same. Cells cut by the border stay as small as the border leaves them.

    Args:
        block: where the weights come from.
        x: tokens, [batch, grid, grid, dim].
        window: side of a cell.
        shift: first grid line.

    Returns:
        Tokens, [batch, grid, grid, dim].
    """
    weights = {name: value.double().numpy() for name, value in block.state_dict().items()}

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    batch, grid, _, dim = x.shape
    tokens = x.astype(np.float64).reshape(batch, grid * grid, dim)
    y, z = np.divmod(np.arange(grid * grid), grid)
    visible = ((y - shift) // window == (y[:, None] - shift) // window) & (
        (z - shift) // window == (z[:, None] - shift) // window
    )
    down = np.clip(y[:, None] - y + window - 1, 0, 2 * window - 2)
    right = np.clip(z[:, None] - z + window - 1, 0, 2 * window - 2)
    table = weights["attn.relative_position_bias_table"][down * (2 * window - 1) + right]
    heads = table.shape[-1]
    query, key, value = np.split(linear(norm(tokens, "norm1"), "attn.qkv"), 3, axis=-1)
    attended = np.empty_like(tokens)
    for head in range(heads):
        part = slice(head * dim // heads, (head + 1) * dim // heads)
        scores = query[..., part] @ key[..., part].transpose(0, 2, 1) / math.sqrt(dim / heads)
        scores = np.exp(scores + table[..., head]) * visible
        attended[..., part] = scores / scores.sum(-1, keepdims=True) @ value[..., part]
    tokens = tokens + linear(attended, "attn.proj")
    hidden = linear(norm(tokens, "norm2"), "mlp.fc1")
    hidden = hidden * 0.5 * (1.0 + np.vectorize(math.erf)(hidden / math.sqrt(2.0)))
    return (tokens + linear(hidden, "mlp.fc2")).reshape(x.shape)


@pytest.mark.parametrize(
    ("stage", "index", "window", "shift"),
    [
        (0, 0, 8, 0),
        (0, 1, 8, 4),
        (1, 1, 8, 0),  # the window is the grid: no shift
        (2, 1, 4, 0),  # the window is larger than the grid: it shrinks
    ],
)
def test_block_matches_its_definition(stage: int, index: int, window: int, shift: int) -> None:
    config = dataclasses.replace(TINY, window_size=8)
    torch.manual_seed(stage)
    grid, dim = config.grid(stage), config.dim(stage)
    order = torch.randperm(grid**2)  # in which the tokens come
    block = SwinBlock(config, stage, index, 0.0, order).eval()
    for value in block.state_dict().values():
        value.add_(0.3 * torch.randn_like(value))
    image = torch.randn(2, grid, grid, dim)
    want = slow_block(block, image.numpy(), window, shift).reshape(2, grid**2, dim)
    for _ in range(2):
        with torch.no_grad():
            got = block(image.reshape(2, grid**2, dim)[:, order]).numpy()
        assert np.abs(got - want[:, block.order]).max() < 2e-6 * np.abs(want).max()
        block.attn.use_graph()  # in the second round: queries, keys and values apart


@pytest.mark.parametrize(("grid", "window", "shift"), [(4, 2, 0), (4, 2, 1), (6, 3, 1), (4, 4, 0)])
def test_window_order_lists_cells_of_the_shifted_grid(grid: int, window: int, shift: int) -> None:
    raster = np.arange(grid**2).reshape(grid, grid)
    cells = [
        raster[(top + shift + i) % grid, (left + shift + j) % grid]
        for top in range(0, grid, window)
        for left in range(0, grid, window)
        for i in range(window)
        for j in range(window)
    ]
    assert window_order(grid, window, shift).tolist() == cells


def test_merging_joins_the_square_of_every_token() -> None:
    order = torch.randperm(16)
    merging = PatchMerging(3, order).eval()
    image = torch.randn(2, 4, 4, 3)
    squares = [  # column by column, as checkpoints have them
        torch.cat([image[:, 2 * y + i, 2 * x + j] for j in (0, 1) for i in (0, 1)], dim=1)
        for y in (0, 1)
        for x in (0, 1)
    ]
    want = merging.reduction(merging.norm(torch.stack(squares, dim=1)))
    torch.testing.assert_close(merging(image.reshape(2, 16, 3)[:, order]), want)


def test_stochastic_depth_skips_whole_branches_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    sure = SwinBlock(TINY, 2, 0, 0.0, torch.arange(16))
    for parameter in sure.mlp.fc2.parameters():
        torch.nn.init.zeros_(parameter)  # leaves one branch, the attention
    random = SwinBlock(TINY, 2, 0, 0.25, torch.arange(16))
    random.load_state_dict(sure.state_dict())
    x = torch.randn(1, 16, TINY.dim(2)).repeat(4000, 1, 1)
    with torch.no_grad():
        branch = (sure(x) - x)[0]
        assert branch.abs().max() > 1e-3
        ratio = ((random(x) - x) * branch).sum(dim=(1, 2)) / branch.square().sum()
        assert torch.equal(random.eval()(x), sure(x))
    kept = ratio > 0.5
    torch.testing.assert_close(ratio, kept / 0.75, atol=1e-3, rtol=0)
    assert abs(kept.float().mean() - 0.75) < 0.04  # six standard deviations


def test_can_train_after_evaluating_in_inference_mode() -> None:
    encoder = Htsat(TINY)
    log_mel = decibels(2, TINY_FRAMES, TINY.n_mels)
    with torch.inference_mode():
        encoder(log_mel)
    encoder(log_mel).square().sum().backward()
    missing = [name for name, p in encoder.named_parameters() if p.grad is None]
    assert missing == []


def test_too_many_frames_or_other_mel_bins_are_refused() -> None:
    encoder = Htsat(TINY)
    with pytest.raises(ValueError, match="257 frames of 16 mel bins; this encoder takes 1 to 256"):
        encoder(decibels(1, 257, 16))
    with pytest.raises(ValueError, match="256 frames of 15 mel bins"):
        encoder(decibels(1, 256, 15))


def test_stretch_matrices_do_not_pile_up() -> None:
    encoder = Htsat(TINY)
    for frames in range(1, 3 * CACHED_LENGTHS):
        encoder.prepare(frames)
    assert len(encoder._stretches) == CACHED_LENGTHS
    assert encoder.prepare(frames).data_ptr() == encoder.prepare(frames).data_ptr()


def test_half_precision_behind_a_float32_normalisation() -> None:
    encoder, _ = pair(TINY)
    log_mel = decibels(3, TINY_FRAMES, TINY.n_mels)
    with torch.inference_mode():
        want = encoder(log_mel)
        encoder.half().bn0.float()
        got = encoder(log_mel)
    assert got.dtype == torch.float16
    assert encoder.prepare(TINY_FRAMES).dtype == torch.float32
    assert torch.cosine_similarity(got.float(), want).min() > 0.9999


def test_checkpoints_hold_weights_and_nothing_derived() -> None:
    encoder = Htsat(TINY)
    encoder(decibels(1, TINY_FRAMES, TINY.n_mels))
    weights = {name for name, _ in encoder.named_parameters()}
    statistics = {f"bn0.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert set(encoder.state_dict()) == weights | statistics


def test_config_survives_json() -> None:
    assert HtsatConfig(**json.loads(json.dumps(dataclasses.asdict(TINY)))) == TINY


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depths": (2, 2)}, "one entry a stage"),
        ({"n_mels": 24}, "multiple of n_mels 24"),
        ({"patch_size": 3}, "patch_size 3"),
        ({"num_heads": (3, 4, 4)}, "stage 0: 8 channels in 3 heads"),
        ({"window_size": 5}, "stage 0: a side of 16 / 1 tokens"),
        ({"depths": (1,) * 6, "num_heads": (2,) * 6}, "stage 5: a side of 16 / 32 tokens"),
    ],
)
def test_impossible_configs_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **change)


def export(encoder: Htsat, frames: int, path: Path) -> onnx.ModelProto:
    """The encoder's graph for clips of one length, batch dynamic."""
    torch.onnx.export(
        encoder,
        (decibels(2, frames, encoder.config.n_mels),),
        path,
        dynamo=True,
        opset_version=20,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        input_names=["log_mel"],
        output_names=["embedding"],
        external_data=False,
        verbose=False,
    )
    return onnx.load(path)


def assert_clean(graph: onnx.GraphProto) -> None:
    """No control flow, nothing random, no shape arithmetic and no resize."""
    counts = Counter(node.op_type for node in graph.node)
    unwanted = {"If", "Loop", "Scan", "NonZero", "ScatterND", "GatherND", "Shape", "Resize"}
    unwanted |= {"Dropout", "Bernoulli", "RandomUniform", "RandomUniformLike"}
    assert {op: n for op, n in counts.items() if op in unwanted} == {}
    assert counts["Softmax"] > 0  # the counting sees the nodes


def assert_same_in_onnxruntime(encoder: Htsat, frames: int, path: Path) -> None:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 2, 5):
        log_mel = decibels(batch, frames, encoder.config.n_mels)
        with torch.inference_mode():
            want = encoder(log_mel).numpy()
        (got,) = session.run(None, {"log_mel": log_mel.numpy()})
        assert got.shape == want.shape
        assert np.abs(got - want).max() < 1e-5


@pytest.mark.parametrize("frames", [TINY_FRAMES, TINY.max_frames])
def test_onnx_graph_is_clean_and_equal(frames: int, tmp_path: Path) -> None:
    encoder, _ = pair(TINY)
    encoder.prepare(frames)
    model = export(encoder, frames, tmp_path / "htsat.onnx")
    assert_clean(model.graph)
    assert_same_in_onnxruntime(encoder, frames, tmp_path / "htsat.onnx")


@pytest.mark.slow
def test_full_size_onnx_graph_is_clean_and_equal(tmp_path: Path) -> None:
    encoder, _ = pair(FULL)
    encoder.prepare(1001)
    model = export(encoder, 1001, tmp_path / "htsat.onnx")
    assert_clean(model.graph)
    assert_same_in_onnxruntime(encoder, 1001, tmp_path / "htsat.onnx")


def test_export_without_prepare_says_what_to_do() -> None:
    encoder = Htsat(TINY).eval()
    log_mel = decibels(1, TINY_FRAMES, TINY.n_mels)
    with pytest.raises(RuntimeError, match="call prepare"):
        torch.export.export(encoder, (log_mel,))
    encoder(log_mel)  # encoding once is enough
    torch.export.export(encoder, (log_mel,))
