"""A checkpoint as a folder that transformers' ``ClapModel`` loads, with the same embeddings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from clap_export.checkpoints import Checkpoint, load
from clap_export.model.config import ClapConfig, HtsatConfig, TextEncoderConfig
from clap_export.model.mel import LogMel
from runtime.errors import ClapError
from runtime.files import publish, scratch
from runtime.problems import listed

# From our names to transformers'; what is not here keeps its name behind the part's prefix.
_BLOCK = {
    "norm1": "layernorm_before", "norm2": "layernorm_after", "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense",
    "attn.relative_position_bias_table": "attention.self.relative_position_bias_table",
}  # fmt: skip
_AUDIO, _TEXT = "audio_model.audio_encoder.", "text_model."
# Of a stored filterbank or window against the one that transformers computes.
_CLOSE = 1e-5


def to_transformers(source: Path, folder: Path) -> None:
    """Write the folder, and read it again to see that every number is there.

    Args:
        source: a checkpoint of any family, an HTSAT with a RoBERTa.
        folder: to make; it must not exist.

    Raises:
        ClapError: an architecture that ``ClapModel`` has not (all reasons are named), or the folder
            is there.
    """
    if folder.exists():
        raise ClapError(f"'{folder}' exists: choose another folder, or remove it.")
    checkpoint = load(source)
    config = checkpoint.model.config
    if problems := [*_problems(config), *_frontend_problems(checkpoint)]:
        raise ClapError(f"{source} cannot be a ClapModel of transformers: {listed(problems)}.")
    with scratch(folder) as space:
        _write(checkpoint, made := space / "made")
        _compare(checkpoint, load(made), folder)
        publish(made, folder)


def _write(checkpoint: Checkpoint, folder: Path) -> None:
    from transformers import ClapConfig as Config
    from transformers import ClapFeatureExtractor, ClapModel, PreTrainedTokenizerFast

    config, state = checkpoint.model.config, checkpoint.model.state_dict()
    htsat, text, audio = config.audio_encoder.htsat, config.text_encoder, config.audio
    assert htsat is not None  # _problems sees to it
    model = ClapModel(
        Config(
            text_config={**_text_config(text), "projection_dim": config.embedding_dim},
            audio_config={**_audio_config(htsat), "projection_dim": config.embedding_dim},
            projection_dim=config.embedding_dim,
        )
    )
    found = model.load_state_dict(_state(state, htsat), strict=False)
    lacking = [name for name in found.missing_keys if not _computed(name)]
    if lacking or found.unexpected_keys:
        raise ClapError(
            "this release of transformers names the parts of ClapModel otherwise: "
            f"{listed([*lacking, *found.unexpected_keys])}. Use transformers 5."
        )
    model.save_pretrained(folder)
    ClapFeatureExtractor(
        feature_size=audio.mel.n_mels, sampling_rate=audio.sample_rate,
        hop_length=audio.mel.hop_length, max_length_s=audio.window_samples // audio.sample_rate,
        fft_window_size=audio.mel.n_fft, frequency_min=audio.mel.f_min,
        frequency_max=audio.mel.f_max, padding=audio.fill,
        truncation="fusion" if htsat.fusion else "rand_trunc",
    ).save_pretrained(folder)  # fmt: skip
    tokenizer = Tokenizer.from_str(checkpoint.tokenizer)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=tokenizer.id_to_token(text.pad_id),
        model_max_length=text.max_tokens, model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)  # fmt: skip


def _problems(config: ClapConfig) -> list[str]:
    """What of the architecture ``ClapModel`` has not."""
    text, audio, mel = config.text_encoder, config.audio, config.audio.mel
    fused = audio.long_clips == "fusion"
    bank = ("htk", None) if fused else ("slaney", "slaney")
    kinds = {config.audio_projection.kind, config.text_projection.kind}
    checks = {
        "its audio encoder is no HTSAT": config.audio_encoder.htsat is not None,
        f"its text encoder is a {text.model_type}, not a RoBERTa": text.model_type == "roberta",
        f"texts are pooled by '{text.pooling}', not by the pooler": text.pooling == "pooler",
        f"texts end in {text.suffix!r}": not text.suffix,
        f"projections are {' and '.join(sorted(kinds))}, not mlp": kinds == {"mlp"},
        f"the window of {audio.window_samples} samples is not of whole seconds": (
            audio.window_samples % audio.sample_rate == 0
        ),
        "its filterbank is for another sample rate": mel.sample_rate == audio.sample_rate,
        f"its mel scale is {mel.scale} with norm {mel.norm}": (mel.scale, mel.norm) == bank,
        f"its least power is {mel.amin}": mel.amin == 1e-10,
    }
    return [problem for problem, right in checks.items() if not right]


def _frontend_problems(checkpoint: Checkpoint) -> list[str]:
    """Windows and filterbanks that the checkpoint brings and transformers would not compute."""
    ours, computed = checkpoint.model.mel, LogMel(checkpoint.model.config.audio.mel)
    pairs = {"filterbank": (ours.filterbank, computed.filterbank),
             "window": (ours.window, computed.window)}  # fmt: skip
    return [
        f"its {name} is its own"
        for name, (stored, made) in pairs.items()
        if stored.shape != made.shape or (stored - made).abs().max() > _CLOSE * made.abs().max()
    ]


def _audio_config(htsat: HtsatConfig) -> dict[str, Any]:
    return {
        "num_mel_bins": htsat.n_mels, "spec_size": htsat.spec_size, "patch_size": htsat.patch_size,
        "patch_stride": [htsat.patch_size] * 2, "patch_embeds_hidden_size": htsat.embed_dim,
        "hidden_size": htsat.dim(len(htsat.depths) - 1), "depths": list(htsat.depths),
        "num_hidden_layers": len(htsat.depths), "num_attention_heads": list(htsat.num_heads),
        "window_size": htsat.window_size, "mlp_ratio": htsat.mlp_ratio,
        "qkv_bias": htsat.qkv_bias, "hidden_act": htsat.activation,
        "layer_norm_eps": htsat.layer_norm_eps, "enable_fusion": htsat.fusion,
        "fusion_type": "aff_2d" if htsat.fusion else None,
    }  # fmt: skip


def _text_config(text: TextEncoderConfig) -> dict[str, Any]:
    """Every size, also those that the config leaves to the defaults of its own architecture."""
    from transformers import RobertaConfig

    whole = RobertaConfig(**text.options).to_dict()
    names = (
        "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
        "intermediate_size", "hidden_act", "max_position_embeddings", "type_vocab_size",
        "layer_norm_eps", "pad_token_id",
    )  # fmt: skip
    return {name: whole[name] for name in names}


def _state(state: dict[str, Tensor], htsat: HtsatConfig) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.startswith("audio_encoder."):
            found |= _audio_named(name.removeprefix("audio_encoder."), value)
        elif name.startswith("text_encoder.transformer."):
            found[_TEXT + name.removeprefix("text_encoder.transformer.")] = value
        elif name == "logit_scale":
            found |= {"logit_scale_a": value, "logit_scale_t": value.clone()}
        elif "_projection." in name:
            found[name] = value
    return found


def _audio_named(name: str, value: Tensor) -> dict[str, Tensor]:
    if name.startswith("bn0."):
        return {f"{_AUDIO}batch_norm.{name.removeprefix('bn0.')}": value}
    if name.startswith("fusion."):
        inner = name.removeprefix("fusion.")
        part = "" if inner.startswith("mel_conv2d.") else "fusion_model."
        return {f"{_AUDIO}patch_embed.{part}{inner}": value}
    block = re.fullmatch(r"(layers\.\d+\.blocks\.\d+)\.(.+?)(\.(?:weight|bias))?", name)
    if block is None:
        return {_AUDIO + name: value}
    where, part, kind = block[1], block[2], block[3] or ""
    if part == "attn.qkv":
        thirds = zip(("query", "key", "value"), value.chunk(3), strict=True)
        return {f"{_AUDIO}{where}.attention.self.{n}{kind}": third.clone() for n, third in thirds}
    return {f"{_AUDIO}{where}.{_BLOCK.get(part, part)}{kind}": value}


def _computed(name: str) -> bool:
    """What ``ClapModel`` makes by itself."""
    return name.endswith(("relative_position_index", "position_ids", "token_type_ids"))


def _compare(one: Checkpoint, other: Checkpoint, folder: Path) -> None:
    """Whether what was written is read as what it was."""
    ours, theirs = one.model.state_dict(), other.model.state_dict()
    differ = [
        name
        for name, value in ours.items()
        if not name.startswith("mel.")
        and (name not in theirs or not torch.equal(value.cpu(), theirs[name]))
    ]
    if differ:
        raise ClapError(f"'{folder}' would not hold the same weights: {listed(differ)}.")
