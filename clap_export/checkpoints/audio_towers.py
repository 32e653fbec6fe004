"""Audio towers as msclap and LAION name them: torchlibrosa's frontend, CNN14 and HTSAT.

Sizes are read from the tensors' shapes, because these files hold no config of the network.
"""

from __future__ import annotations

import math
import re

import torch

from clap_export.checkpoints.state import Rule, State, count, drop, size
from clap_export.model.clap import ClapModel
from clap_export.model.cnn14 import Cnn14Config
from clap_export.model.htsat import HtsatConfig
from runtime.bundle import Mel
from runtime.errors import ClapError

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


def frontend(where: str, state: State, prefix: str) -> State:
    """Window and filterbank of a torchlibrosa frontend, as the file stores them.

    torchlibrosa keeps the windowed DFT as two convolutions; the row of frequency 0 is the window.

    Raises:
        ClapError: the convolutions are not the DFT of any window, so this model hears otherwise.
    """
    stft = f"{prefix}spectrogram_extractor.stft.conv_"
    n_fft = size(where, state, f"{stft}real.weight", axis=2)
    bins = size(where, state, f"{stft}imag.weight")
    window = state[f"{stft}real.weight"][0, 0]
    k, n = torch.arange(bins, dtype=torch.float64), torch.arange(n_fft, dtype=torch.float64)
    angle = 2 * math.pi * torch.outer(k, n) / n_fft
    error = max(
        float((state[f"{stft}{part}.weight"][:, 0].double() - window.double() * wave).abs().max())
        for part, wave in (("real", angle.cos()), ("imag", -angle.sin()))
    )
    if error > 1e-5:
        raise ClapError(
            f"{where}: the stored STFT is not the DFT of its window (it differs by {error:.2g}), "
            "so the log-mel frontend of clap-export would not give its numbers."
        )
    size(where, state, f"{prefix}logmel_extractor.melW")
    bank = state[f"{prefix}logmel_extractor.melW"]
    return {"mel.window": window.clone(), "mel.filterbank": bank.clone()}


def computed_frontend(model: ClapModel) -> State:
    """Window and filterbank of families that compute them, from the config as ClapModel does."""
    return {"mel.window": model.mel.window, "mel.filterbank": model.mel.filterbank}


def mel(where: str, state: State, prefix: str, sample_rate: int, hop_length: int) -> Mel:
    """The frontend's numbers: sizes from the stored filterbank, the rest as both families have it.

    Args:
        sample_rate: that the filterbank was made for.
        hop_length: of the family; the file does not say it.
    """
    bank = f"{prefix}logmel_extractor.melW"
    n_fft, n_mels = 2 * (size(where, state, bank) - 1), size(where, state, bank, axis=1)
    return Mel(sample_rate, n_fft, hop_length, n_mels, 50.0, 14_000.0, "slaney", "slaney", 1e-10)


def cnn14_config(where: str, state: State, prefix: str) -> Cnn14Config:
    """Shape of the CNN14 in a state dict."""
    blocks = count(state, re.escape(prefix) + r"conv_block(\d+)\.")
    return Cnn14Config(
        n_mels=size(where, state, f"{prefix}bn0.weight"),
        width=size(where, state, f"{prefix}fc1.weight"),
        channels=tuple(
            size(where, state, f"{prefix}conv_block{n}.conv1.weight") for n in range(1, blocks + 1)
        ),
    )


def htsat_config(where: str, state: State, prefix: str) -> HtsatConfig:
    """Shape of the HTSAT in a state dict; its image of 256 x 256 is the same in every variant."""
    stages = count(state, re.escape(prefix) + r"layers\.(\d+)\.")
    table = "attn.relative_position_bias_table"
    rows = size(where, state, f"{prefix}layers.0.blocks.0.{table}")
    embed_dim = size(where, state, f"{prefix}patch_embed.proj.weight")
    return HtsatConfig(
        n_mels=size(where, state, f"{prefix}bn0.weight"),
        patch_size=size(where, state, f"{prefix}patch_embed.proj.weight", axis=2),
        embed_dim=embed_dim,
        depths=tuple(
            count(state, rf"{re.escape(prefix)}layers\.{n}\.blocks\.(\d+)\.") for n in range(stages)
        ),
        num_heads=tuple(
            size(where, state, f"{prefix}layers.{n}.blocks.0.{table}", axis=1)
            for n in range(stages)
        ),
        window_size=(math.isqrt(rows) + 1) // 2,
        mlp_ratio=size(where, state, f"{prefix}layers.0.blocks.0.mlp.fc1.weight") / embed_dim,
        fusion=f"{prefix}patch_embed.mel_conv2d.weight" in state,
    )
