"""A checkpoint as the ``.pt`` that laion_clap 1.1.7 loads (``load_ckpt``), strictly.

That model has parts that are of its training alone: AudioSet's classifier, and heads behind the
embeddings. They are filled with zeros; no embedding passes through them.
"""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from clap_export.checkpoints import Checkpoint, load
from clap_export.model.config import ClapConfig, HtsatConfig
from clap_export.model.mel import LogMel
from clap_export.model.swin import relative_position_index, shifted_window_mask
from runtime.errors import ClapError
from runtime.files import writing
from runtime.problems import listed

_AUDIO, _TEXT = "audio_branch.", "text_branch."
# The sizes that laion_clap has: its ``amodel``s, and the RoBERTa-base that it always takes.
AMODELS = {
    "HTSAT-tiny": (96, (2, 2, 6, 2), (4, 8, 16, 32)),
    "HTSAT-base": (128, (2, 2, 12, 2), (4, 8, 16, 32)),
    "HTSAT-large": (256, (2, 2, 12, 2), (4, 8, 16, 32)),
}
ROBERTA_BASE = {
    "vocab_size": 50_265, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "max_position_embeddings": 514, "type_vocab_size": 1,
    "layer_norm_eps": 1e-5, "hidden_act": "gelu", "pad_token_id": 1,
}  # fmt: skip
DIM, CLASSES = 512, 527
AUDIO = {"sample_rate": 48_000, "window_samples": 480_000, "fill": "repeatpad"}
MEL = {
    "sample_rate": 48_000, "n_fft": 1024, "hop_length": 480, "n_mels": 64, "f_min": 50.0,
    "f_max": 14_000.0,
}  # fmt: skip


def to_laion(source: Path, path: Path) -> str:
    """Write the file; returns the ``amodel`` to load it with.

    Args:
        source: a checkpoint of any family, of one of laion_clap's own shapes.
        path: to write.

    Raises:
        ClapError: another shape (all differences are named), or the file cannot be written.
    """
    checkpoint = load(source)
    if problems := _problems(checkpoint.model.config):
        raise ClapError(f"{source} is no model that laion_clap can build: {listed(problems)}.")
    torch.save({"state_dict": laion_state(checkpoint)}, made := io.BytesIO())
    with writing(path) as part:
        part.write_bytes(made.getvalue())
    return _amodel(checkpoint.model.config) or ""


def laion_state(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The model's tensors under laion_clap's names, and those that it makes by itself."""
    model, config = checkpoint.model, checkpoint.model.config
    htsat = config.audio_encoder.htsat
    assert htsat is not None  # _problems sees to it
    found: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        found |= _named(name, value.detach().cpu())
    found["logit_scale_t"] = found["logit_scale_a"].clone()
    positions = found[f"{_TEXT}embeddings.position_embeddings.weight"].shape[0]
    found[f"{_TEXT}embeddings.position_ids"] = torch.arange(positions)[None]
    bank = model.mel.filterbank
    if htsat.fusion:  # the one that its model holds, and does not use
        bank = LogMel(replace(config.audio.mel, scale="slaney", norm="slaney")).filterbank
    return found | _frontend(model.mel.window, bank) | _blocks(htsat) | _heads(htsat)


def _problems(config: ClapConfig) -> list[str]:
    from transformers import RobertaConfig

    text, found = config.text_encoder, list[str]()
    if _amodel(config) is None:
        found.append(f"its audio encoder is none of {', '.join(AMODELS)}")
    if (text.model_type, text.pooling, text.suffix) != ("roberta", "pooler", ""):
        found.append("its text encoder is no RoBERTa that is pooled by its pooler")
    else:
        whole = RobertaConfig(**text.options).to_dict()
        found += [
            f"text {name} is {whole[name]}, not {wanted}"
            for name, wanted in ROBERTA_BASE.items()
            if whole[name] != wanted
        ]
    if {config.audio_projection.kind, config.text_projection.kind} != {"mlp"}:
        found.append("its projections are not mlp")
    if config.embedding_dim != DIM:
        found.append(f"its embeddings have {config.embedding_dim} dimensions, not {DIM}")
    for record, wanted in ((config.audio, AUDIO), (config.audio.mel, MEL)):
        found += [
            f"{name} is {getattr(record, name)}, not {value}"
            for name, value in wanted.items()
            if getattr(record, name) != value
        ]
    mel = config.audio.mel
    if config.audio.long_clips == "fusion" and (mel.scale, mel.norm) != ("htk", None):
        found.append(
            f"with feature fusion its own code makes mel bins of scale htk without a norm, not of "
            f"{mel.scale} with {mel.norm}"
        )
    return found


def _amodel(config: ClapConfig) -> str | None:
    htsat = config.audio_encoder.htsat
    if htsat is None:
        return None
    own = (htsat.embed_dim, htsat.depths, htsat.num_heads)
    rest = (htsat.n_mels, htsat.spec_size, htsat.patch_size, htsat.window_size, htsat.mlp_ratio)
    plain = rest == (64, 256, 4, 8, 4.0) and htsat.qkv_bias and htsat.activation == "gelu"
    return next((name for name, shape in AMODELS.items() if plain and shape == own), None)


def _named(name: str, value: Tensor) -> dict[str, Tensor]:
    if name.startswith("audio_encoder.fusion."):
        inner = name.removeprefix("audio_encoder.fusion.")
        part = "" if inner.startswith("mel_conv2d.") else "fusion_model."
        return {f"{_AUDIO}patch_embed.{part}{inner}": value}
    if name.startswith("audio_encoder."):
        return {_AUDIO + name.removeprefix("audio_encoder."): value}
    if name.startswith("text_encoder.transformer."):
        return {_TEXT + name.removeprefix("text_encoder.transformer."): value}
    if name == "logit_scale":
        return {"logit_scale_a": value}
    layer = re.fullmatch(r"((?:audio|text)_projection\.)linear([12])(\..*)", name)
    if layer is None:  # the frontend
        return {}
    return {f"{layer[1]}{2 * int(layer[2]) - 2}{layer[3]}": value}


def _frontend(window: Tensor, filterbank: Tensor) -> dict[str, Tensor]:
    """torchlibrosa's: the windowed DFT as two convolutions, and the filterbank."""
    size = len(window)
    k, n = torch.arange(size // 2 + 1).double(), torch.arange(size).double()
    angle = 2 * math.pi / size * (torch.outer(k, n) % size)
    waves = {"real": angle.cos(), "imag": -angle.sin()}
    stft = f"{_AUDIO}spectrogram_extractor.stft.conv_"
    found = {
        f"{stft}{part}.weight": (wave * window.double().cpu()).float()[:, None]
        for part, wave in waves.items()
    }
    return {**found, f"{_AUDIO}logmel_extractor.melW": filterbank.detach().cpu()}


def _blocks(htsat: HtsatConfig) -> dict[str, Tensor]:
    """What the blocks keep of their windows."""
    found: dict[str, Tensor] = {}
    for stage, depth in enumerate(htsat.depths):
        grid = htsat.grid(stage)
        window = min(htsat.window_size, grid)
        for index in range(depth):
            block = f"{_AUDIO}layers.{stage}.blocks.{index}."
            found[f"{block}attn.relative_position_index"] = relative_position_index(window)
            if index % 2 and window < grid:
                mask = shifted_window_mask(grid, window, window // 2)[:, 0]
                found[f"{block}attn_mask"] = mask
    return found


def _heads(htsat: HtsatConfig) -> dict[str, Tensor]:
    """AudioSet's classifier and the heads of the training loss: zeros."""
    last = len(htsat.depths) - 1
    height = htsat.grid(last) // (htsat.spec_size // htsat.n_mels)
    shapes = {
        f"{_AUDIO}tscam_conv.weight": (CLASSES, htsat.dim(last), height, 3),
        f"{_AUDIO}tscam_conv.bias": (CLASSES,),
        f"{_AUDIO}head.weight": (CLASSES, CLASSES),
        f"{_AUDIO}head.bias": (CLASSES,),
    }
    for side in ("audio", "text"):
        for layer in (0, 3):
            shapes[f"{side}_transform.sequential.{layer}.weight"] = (DIM, DIM)
            shapes[f"{side}_transform.sequential.{layer}.bias"] = (DIM,)
    return {name: torch.zeros(shape) for name, shape in shapes.items()}
