"""open_clip's CLAP: a folder as its hub push writes it, with ``open_clip_config.json``.

What open_clip converts LAION's models to, and trains under the ``CLAP-HTSAT-…`` configs: an HTSAT
and a RoBERTa, each with a two-layer projection. A bare training checkpoint is not read, since it
does not say which activation, pooling or prompt length it was trained with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clap_export.checkpoints import audio_towers, fields, text_towers, wrappers
from clap_export.checkpoints.fields import Problem, choice, real, refusing, whole
from clap_export.checkpoints.laion import MLP
from clap_export.checkpoints.state import Rule, State, drop, prefixed
from clap_export.checkpoints.tokenizers import ROBERTA_BASE, fetch_known, find
from clap_export.checkpoints.weights import read_json, read_weights
from clap_export.model.bounds import (
    MAX_DFT,
    MAX_MELS,
    MAX_SAMPLE_RATE,
    MAX_SECONDS,
    MAX_TOKENS,
    MAX_WIDTH,
)
from clap_export.model.checkpoint import Checkpoint
from clap_export.model.config import (
    AudioEncoderConfig,
    ClapConfig,
    ProjectionConfig,
    TextEncoderConfig,
)
from runtime.audio_spec import AudioSpec, Mel
from runtime.errors import ClapError

CONFIG = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_LICENCE = "see the model's card"
_AUDIO, _TEXT = "audio.encoder.", "text.transformer."
MARKS = (_AUDIO, _TEXT)
_RULES = [
    *prefixed(_AUDIO, audio_towers.HTSAT),
    *prefixed(_TEXT, text_towers.BERT_WITH_POOLER),
    *prefixed("audio.proj.", MLP, "audio_projection."),
    *prefixed("text.proj.", MLP, "text_projection."),
    Rule("logit_scale", "logit_scale"),
    drop("logit_bias", "moves all logits alike: no ranking and no embedding depends on it"),
]
_MODEL = {"embed_dim": whole(512, MAX_WIDTH), "quick_gelu": choice(False, False)}
# The tables are read one by one; the scale and bias that training began with are in the weights.
_MODEL_UNUSED = frozenset(
    "audio_cfg text_cfg custom_text cast_dtype output_dict init_logit_scale init_logit_bias "
    "nonscalar_logit_scale".split()
)
_AUDIO_FIELDS = {  # with the defaults of open_clip
    "model_type": choice("HTSAT", "HTSAT"),
    "enable_fusion": choice(False, False),
    "proj_act": choice("gelu", "relu"),
    "pre_norm": choice(False, False),
    "training_head": choice(False, False),
    "in_chans": choice(1, 1),
    "sample_rate": whole(48_000, MAX_SAMPLE_RATE),
    "clip_samples": whole(480_000, MAX_SAMPLE_RATE * MAX_SECONDS),
    "window_size": whole(1024, MAX_DFT, least=2),
    "hop_size": whole(480, MAX_DFT),
    "mel_bins": whole(64, MAX_MELS),
    "fmin": real(50, MAX_SAMPLE_RATE),
    "fmax": real(14_000, MAX_SAMPLE_RATE),
}
# Sizes by name, which the tensors' shapes say too; where to start training; and other encoders'.
_AUDIO_UNUSED = frozenset(
    "model_name audio_length class_num fusion_type pretrained patch_freq patch_time patch_pad_mode "
    "rope_type audio_seq_len naflexvit_cfg".split()
)
_TEXT_FIELDS = {
    "hf_model_name": choice(None, "roberta-base"),
    "hf_tokenizer_name": choice(None, "roberta-base", None),
    "hf_pooler_type": choice("mean_pooler", "cls_pooler"),
    "hf_proj_type": choice("mlp", "clap_mlp"),
    "tokenizer_mode": choice(None, None),
    "tokenizer_kwargs": choice(None, None, {}),
    "output_tokens": choice(False, False),
    "context_length": whole(77, MAX_TOKENS),
}
# Of open_clip's own text towers, which a model of transformers stands in for here.
_TEXT_UNUSED = frozenset(
    "hf_model_pretrained vocab_size width heads layers mlp_ratio ls_init_value embed_cls pad_id "
    "eos_id no_causal_mask final_ln_after_pool pool_type proj_bias proj_type act_kwargs "
    "norm_kwargs block_type qk_norm scaled_cosine_attn scale_heads scale_attn_inner scale_attn "
    "scale_fc".split()
)


def build(folder: Path, tokenizer: Path | None, name: str | None = None) -> Checkpoint:
    """Make the model.

    Args:
        folder: with the config, the weights and perhaps a tokenizer.
        tokenizer: folder of another tokenizer.
        name: the hub id, if it came from there.

    Raises:
        ClapError: files missing, another architecture, or keys or shapes that do not fit.
    """
    audio, text = _read_config(folder / CONFIG)
    weights = read_weights(folder, WEIGHTS)
    found = wrappers.find(weights.where, weights.data, {"open_clip": MARKS})
    state = State.of(weights.where, weights.data) if found is None else found[1]
    with refusing(state.where):
        config = _config(state, audio, text, (name or folder.name).replace("/", "--"))
    words = fetch_known(tokenizer or find(folder, "roberta"), ROBERTA_BASE, config.text_encoder)
    ours = state.translated(_RULES)
    stored = f"{_AUDIO}logmel_extractor.melW" in state
    heard = (
        audio_towers.frontend(state, _AUDIO, config.audio.mel)
        if stored
        else audio_towers.computed_frontend(config.audio.mel)  # as converted from transformers
    )
    model = ours.changed({**ours, **heard.tensors}).model(config)
    source = weights.origin.source("open_clip", _LICENCE)
    return Checkpoint(model, words, source, heard.findings)


def _read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The audio and the text table."""
    problems: list[Problem] = []
    whole_config = read_json(path).get("model_cfg")
    fields.read("model_cfg", whole_config, _MODEL, _MODEL_UNUSED, problems)
    table = whole_config if isinstance(whole_config, dict) else {}
    audio, text = (
        fields.read(key, table.get(key), *known, problems)
        for key, known in (
            ("audio_cfg", (_AUDIO_FIELDS, _AUDIO_UNUSED)),
            ("text_cfg", (_TEXT_FIELDS, _TEXT_UNUSED)),
        )
    )
    if problems:
        said = "; ".join(f"{p.table}.{p.field} is {p.value!r:.60}, not {p.takes}" for p in problems)
        raise ClapError(
            f"{path}: {said}. Of open_clip's models this clap-export takes those of "
            "its CLAP-HTSAT-…-Roberta-base configs without fusion."
        )
    return audio, text


def _config(state: State, audio: dict[str, Any], text: dict[str, Any], name: str) -> ClapConfig:
    rate, samples = audio["sample_rate"], audio["clip_samples"]
    mel = Mel(
        rate, audio["window_size"], audio["hop_size"], audio["mel_bins"], float(audio["fmin"]),
        float(audio["fmax"]), "slaney", "slaney", 1e-10,
    )  # fmt: skip
    return ClapConfig(
        name=name,
        licence=_LICENCE,
        embedding_dim=state.size("audio.proj.2.weight"),
        audio=AudioSpec(rate, samples, samples, "repeatpad", False, mel),
        audio_encoder=AudioEncoderConfig(htsat=audio_towers.htsat_config(state, _AUDIO)),
        audio_projection=ProjectionConfig("mlp"),
        text_encoder=TextEncoderConfig(
            "roberta",
            text_towers.bert_options(state, _TEXT) | {"layer_norm_eps": 1e-5},
            "pooler", max_tokens=text["context_length"], pad_id=1,
        ),
        text_projection=ProjectionConfig("mlp"),
        default_template="This is a sound of {}.",
    )  # fmt: skip
