"""Audio towers as msclap and LAION name them: torchlibrosa's frontend, CNN14 and HTSAT.

Sizes are read from the tensors' shapes, because these files hold no config of the network.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from torch import Tensor

from clap_export.checkpoints.state import Rule, State, drop
from clap_export.model.config import Cnn14Config, HtsatConfig
from clap_export.model.mel import LogMel
from runtime.audio_spec import Mel
from runtime.errors import ClapError
from runtime.manifest import Finding

_HEAD = "AudioSet's classifier: no part of an embedding"
_NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"

FRONTEND = [
    drop(r"spectrogram_extractor\.stft\.conv_(real|imag)\.weight", "read by frontend()"),
    drop(r"logmel_extractor\.melW", "read by frontend()"),
]

CNN14 = [
    *FRONTEND,
    Rule(rf"bn0\.{_NORM}", r"audio_encoder.bn0.\1"),
    # Blocks are counted from 1 there and from 0 here.
    *(
        Rule(rf"conv_block{n}\.(conv[12]\.weight|bn[12]\.{_NORM})",
             rf"audio_encoder.blocks.{n - 1}.\1")
        for n in range(1, 7)
    ),
    Rule(r"fc1\.(weight|bias)", r"audio_encoder.fc1.\1"),
    drop(r"fc_audioset\.(weight|bias)", _HEAD),
]  # fmt: skip

# As transformers names it too. The norms have counters, the convolutions none.
FUSION = [
    Rule(r"patch_embed\.mel_conv2d\.(weight|bias)", r"audio_encoder.fusion.mel_conv2d.\1"),
    Rule(
        rf"patch_embed\.fusion_model\.(local_att|global_att)\.(\d)\.{_NORM}",
        r"audio_encoder.fusion.\1.\2.\3",
    ),
]

_BLOCK = r"layers\.(\d+)\.blocks\.(\d+)"
HTSAT = [
    *FRONTEND,
    Rule(rf"bn0\.{_NORM}", r"audio_encoder.bn0.\1"),
    Rule(r"patch_embed\.(proj|norm)\.(weight|bias)", r"audio_encoder.patch_embed.\1.\2"),
    Rule(
        rf"{_BLOCK}\.(norm1|norm2|attn\.qkv|attn\.proj|mlp\.fc1|mlp\.fc2)\.(weight|bias)",
        r"audio_encoder.layers.\1.blocks.\2.\3.\4",
    ),
    Rule(
        rf"{_BLOCK}\.attn\.relative_position_bias_table",
        r"audio_encoder.layers.\1.blocks.\2.attn.relative_position_bias_table",
    ),
    drop(rf"{_BLOCK}\.(attn\.relative_position_index|attn_mask)", "follows from the window size"),
    Rule(
        r"layers\.(\d+)\.downsample\.(norm\.weight|norm\.bias|reduction\.weight)",
        r"audio_encoder.layers.\1.downsample.\2",
    ),
    Rule(r"norm\.(weight|bias)", r"audio_encoder.norm.\1"),
    drop(r"(tscam_conv|head)\.(weight|bias)", _HEAD),
    *FUSION,
]


# Of a stored window, DFT or filterbank in float32; as much again for each rounding to half.
_CLOSE = 1e-5


@dataclass(frozen=True)
class Frontend:
    """Window and filterbank as a model is to have them.

    Attributes:
        tensors: by the names of a `ClapModel`.
        findings: what was made of stored ones that had lost precision.
    """

    tensors: dict[str, Tensor]
    findings: tuple[Finding, ...] = ()


def frontend(state: State, prefix: str, mel: Mel) -> Frontend:
    """Window and filterbank of a torchlibrosa frontend, as the file stores them.

    torchlibrosa keeps the windowed DFT as two convolutions; the row of frequency 0 is the window.
    A file that was saved in half precision holds both too coarsely: where they are what the
    family computes, but for that rounding, the computed ones are used.

    Raises:
        ClapError: the convolutions are not the DFT of any window, so this model hears otherwise.
    """
    stft, bank = f"{prefix}spectrogram_extractor.stft.conv_", f"{prefix}logmel_extractor.melW"
    n_fft = state.size(f"{stft}real.weight", axis=2)
    bins = state.size(f"{stft}imag.weight")
    state.size(bank)
    rounding = max(state.rounding.get(f"{stft}{part}.weight", 0.0) for part in ("real", "imag"))
    window = state[f"{stft}real.weight"][0, 0]
    error = _distance_from_dft(state, stft, n_fft, bins)
    if not error <= _CLOSE + 2 * rounding:
        raise ClapError(
            f"{state.where}: the stored STFT is not the DFT of its window (it differs by "
            f"{error:.2g}), so the log-mel frontend of clap-export would not give its numbers."
        )
    exact = LogMel(mel)
    found, coarse = {"mel.window": window.clone(), "mel.filterbank": state[bank].clone()}, []
    for name, stored, wanted in (
        ("mel.window", rounding, exact.window),
        ("mel.filterbank", state.rounding.get(bank, 0.0), exact.filterbank),
    ):
        same_shape = found[name].shape == wanted.shape
        if stored and same_shape and _only_rounded(found[name], wanted, stored):
            found[name] = wanted
            coarse.append(name.removeprefix("mel."))
    if not coarse:
        return Frontend(found)
    return Frontend(found, (Finding(
        "half-precision-frontend",
        f"the checkpoint was saved in half precision; its {' and '.join(coarse)} differ from the "
        "computed ones by that rounding only, so the computed ones are used",
    ),))  # fmt: skip


def _distance_from_dft(state: State, stft: str, n_fft: int, bins: int) -> float:
    real, imaginary = (state[f"{stft}{part}.weight"] for part in ("real", "imag"))
    if real.shape != (bins, 1, n_fft) or imaginary.shape != real.shape:
        return math.inf
    k, n = torch.arange(bins, dtype=torch.float64), torch.arange(n_fft, dtype=torch.float64)
    angle = 2 * math.pi * torch.outer(k, n) / n_fft
    window = real[0, 0].double()
    return max(
        float((stored[:, 0].double() - window * wave).abs().max())
        for stored, wave in ((real, angle.cos()), (imaginary, -angle.sin()))
    )


def _only_rounded(stored: Tensor, exact: Tensor, rounding: float) -> bool:
    # Values below the smallest normal half, 6e-5, have a fixed step of 6e-8.
    return bool(((stored - exact).abs() <= _CLOSE * exact.max() + rounding * exact.abs()).all())


def computed_frontend(mel: Mel) -> Frontend:
    """Window and filterbank of families that compute them, from the config as ClapModel does."""
    made = LogMel(mel)
    return Frontend({"mel.window": made.window, "mel.filterbank": made.filterbank})


def mel(state: State, prefix: str, sample_rate: int, hop_length: int) -> Mel:
    """The frontend's numbers: sizes from the stored filterbank, the rest as both families have it.

    Args:
        state: with the filterbank.
        prefix: of the audio tower.
        sample_rate: that the filterbank was made for.
        hop_length: of the family; the file does not say it.
    """
    bank = f"{prefix}logmel_extractor.melW"
    n_fft, n_mels = 2 * (state.size(bank) - 1), state.size(bank, axis=1)
    return Mel(sample_rate, n_fft, hop_length, n_mels, 50.0, 14_000.0, "slaney", "slaney", 1e-10)


def cnn14_config(state: State, prefix: str) -> Cnn14Config:
    """Shape of the CNN14 in a state dict."""
    blocks = state.count(re.escape(prefix) + r"conv_block(\d+)\.")
    return Cnn14Config(
        n_mels=state.size(f"{prefix}bn0.weight"),
        width=state.size(f"{prefix}fc1.weight"),
        channels=tuple(
            state.size(f"{prefix}conv_block{n}.conv1.weight") for n in range(1, blocks + 1)
        ),
    )


def htsat_config(state: State, prefix: str) -> HtsatConfig:
    """Shape of the HTSAT in a state dict; its image of 256 x 256 is the same in every variant."""
    stages = state.count(re.escape(prefix) + r"layers\.(\d+)\.")
    table = "attn.relative_position_bias_table"
    rows = state.size(f"{prefix}layers.0.blocks.0.{table}")
    embed_dim = state.size(f"{prefix}patch_embed.proj.weight")
    return HtsatConfig(
        n_mels=state.size(f"{prefix}bn0.weight"),
        patch_size=state.size(f"{prefix}patch_embed.proj.weight", axis=2),
        embed_dim=embed_dim,
        depths=tuple(
            state.count(rf"{re.escape(prefix)}layers\.{n}\.blocks\.(\d+)\.") for n in range(stages)
        ),
        num_heads=tuple(
            state.size(f"{prefix}layers.{n}.blocks.0.{table}", axis=1) for n in range(stages)
        ),
        window_size=(math.isqrt(rows) + 1) // 2,
        mlp_ratio=state.size(f"{prefix}layers.0.blocks.0.mlp.fc1.weight") / embed_dim,
        fusion=f"{prefix}patch_embed.mel_conv2d.weight" in state,
    )
