"""open_clip's CLAP: a folder as its hub push writes it, with ``open_clip_config.json``.

What open_clip converts LAION's models to, and trains under the ``CLAP-HTSAT-…`` configs: an HTSAT
and a RoBERTa, each with a two-layer projection. A bare training checkpoint is not read, since it
does not say which activation, pooling or prompt length it was trained with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clap_export.checkpoints import audio_towers, text_towers
from clap_export.checkpoints.folder import read_json, read_weights
from clap_export.checkpoints.laion import MLP
from clap_export.checkpoints.state import Rule, State, drop, fit, prefixed, tensors, translate
from clap_export.checkpoints.tokenizers import fetch, find
from clap_export.model.checkpoint import Checkpoint
from clap_export.model.clap import ClapModel
from clap_export.model.config import (
    AudioEncoderConfig,
    ClapConfig,
    ProjectionConfig,
    TextEncoderConfig,
)
from runtime.bundle import AudioSpec, Mel, Source, sha256_file
from runtime.errors import ClapError

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_LICENCE = "see the model's card"
_AUDIO, _TEXT = "audio.encoder.", "text.transformer."
_RULES = [
    *prefixed(_AUDIO, audio_towers.HTSAT),
    *prefixed(_TEXT, text_towers.BERT_WITH_POOLER),
    *prefixed("audio.proj.", MLP, "audio_projection."),
    *prefixed("text.proj.", MLP, "text_projection."),
    Rule("logit_scale", "logit_scale"),
    drop("logit_bias", "moves all logits alike: no ranking and no embedding depends on it"),
]
# Fields that decide what a model computes, and what it must be for this loader.
_AUDIO_FIELDS: dict[str, tuple[Any, Any]] = {  # default of open_clip, value wanted
    "model_type": ("HTSAT", "HTSAT"),
    "enable_fusion": (False, False),
    "proj_act": ("gelu", "relu"),
    "pre_norm": (False, False),
    "training_head": (False, False),
}
_TEXT_FIELDS: dict[str, tuple[Any, Any]] = {
    "hf_model_name": (None, "roberta-base"),
    "hf_pooler_type": ("mean_pooler", "cls_pooler"),
    "hf_proj_type": ("mlp", "clap_mlp"),
}


def build(folder: Path, tokenizer: Path | None, name: str | None = None) -> Checkpoint:
    """Make the model.

    Args:
        folder: with the config, the weights and perhaps a tokenizer.
        tokenizer: folder of another tokenizer.
        name: the hub id, if it came from there.

    Raises:
        ClapError: files missing, another architecture, or keys or shapes that do not fit.
    """
    model_cfg = _table(read_json(folder / CONFIG), "model_cfg")
    audio, text = _table(model_cfg, "audio_cfg"), _table(model_cfg, "text_cfg")
    _refuse(folder / CONFIG, ("audio_cfg", audio, _AUDIO_FIELDS), ("text_cfg", text, _TEXT_FIELDS))
    weights, data = read_weights(folder, WEIGHTS)
    where = str(weights)
    state = tensors(where, data.get("state_dict", data))
    config = _config(where, state, audio, text, (name or folder.name).replace("/", "--"))
    vocabulary = config.text_encoder.options["vocab_size"]
    words = fetch(tokenizer or find(folder, "roberta"), "roberta-base", "roberta", vocabulary)
    model = ClapModel(config)
    ours = translate(where, state, _RULES)
    if f"{_AUDIO}logmel_extractor.melW" in state:
        ours |= audio_towers.frontend(where, state, _AUDIO)
    else:  # as converted from transformers, which stores neither
        ours |= audio_towers.computed_frontend(model)
    fit(where, model, ours)
    source = Source("open_clip", weights.name, sha256_file(weights), _LICENCE)
    return Checkpoint(model.eval(), words, source)


def _table(raw: dict[str, Any], key: str) -> dict[str, Any]:
    value = raw.get(key)
    return value if isinstance(value, dict) else {}


def _refuse(path: Path, *tables: tuple[str, dict[str, Any], dict[str, tuple[Any, Any]]]) -> None:
    problems = [
        f"{table}.{field} is {given.get(field, default)!r}, not {wanted!r}"
        for table, given, fields in tables
        for field, (default, wanted) in fields.items()
        if given.get(field, default) != wanted
    ]
    if problems:
        raise ClapError(
            f"{path}: {'; '.join(problems)}. Of open_clip's models this clap-export takes those of "
            "its CLAP-HTSAT-…-Roberta-base configs without fusion."
        )


def _config(
    where: str, state: State, audio: dict[str, Any], text: dict[str, Any], name: str
) -> ClapConfig:
    rate, samples = audio.get("sample_rate", 48_000), audio.get("clip_samples", 480_000)
    mel = Mel(
        rate, audio.get("window_size", 1024), audio.get("hop_size", 480), audio.get("mel_bins", 64),
        float(audio.get("fmin", 50)), float(audio.get("fmax", 14_000)), "slaney", "slaney", 1e-10,
    )  # fmt: skip
    return ClapConfig(
        name=name,
        licence=_LICENCE,
        embedding_dim=state["audio.proj.2.weight"].shape[0],
        audio=AudioSpec(rate, samples, samples, "repeatpad", False, mel),
        audio_encoder=AudioEncoderConfig(htsat=audio_towers.htsat_config(where, state, _AUDIO)),
        audio_projection=ProjectionConfig("mlp"),
        text_encoder=TextEncoderConfig(
            "roberta",
            text_towers.bert_options(where, state, _TEXT) | {"layer_norm_eps": 1e-5},
            "pooler", max_tokens=text.get("context_length", 77), pad_id=1,
        ),
        text_projection=ProjectionConfig("mlp"),
        default_template="This is a sound of {}.",
    )  # fmt: skip
