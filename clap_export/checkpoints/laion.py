"""LAION's CLAP: ``630k-audioset-best.pt``, ``630k-audioset-fusion-best.pt`` and their kin.

What the files do not say is from the code of laion_clap 1.1.7 (model configs, data pipeline).
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from clap_export.checkpoints import audio_towers, text_towers
from clap_export.checkpoints.fields import refusing
from clap_export.checkpoints.state import Rule, State, drop, prefixed
from clap_export.checkpoints.tokenizers import ROBERTA_BASE, fetch_known
from clap_export.checkpoints.weights import Origin
from clap_export.model.checkpoint import Checkpoint
from clap_export.model.config import (
    AudioEncoderConfig,
    ClapConfig,
    ProjectionConfig,
    TextEncoderConfig,
)
from runtime.audio_spec import AudioSpec
from runtime.errors import ClapError

_AUDIO, _TEXT = "audio_branch.", "text_branch."
MARKS = (f"{_AUDIO}bn0.", f"{_TEXT}embeddings.")
_LICENCE = "CC0 1.0 (LAION, CLAP)"
_RATE, _SECONDS, _HOP = 48_000, 10, 480

MLP = [Rule(rf"{index}\.(weight|bias)", rf"linear{n}.\1") for index, n in ((0, 1), (2, 2))]
_COMMON = [
    *prefixed("audio_projection.", MLP, "audio_projection."),
    *prefixed("text_projection.", MLP, "text_projection."),
    Rule("logit_scale_a", "logit_scale"),
    drop("logit_scale_t", "used in training with the transforms only"),
    drop(r"(audio|text)_transform\..*", "heads of the training loss, after the embedding"),
]


def build(state: State, origin: Origin, tokenizer: Path | None) -> Checkpoint:
    """Make the model.

    Raises:
        ClapError: keys or shapes that do not fit (all are listed), or no tokenizer.
    """
    pann = f"{_AUDIO}conv_block1.conv1.weight" in state
    _check_fusion(state, pann)
    with refusing(state.where):
        config = _config(state, pann)
    # First what may be missing, then what takes long.
    text = fetch_known(tokenizer, ROBERTA_BASE, config.text_encoder)
    rules = [
        *_COMMON,
        *prefixed(_AUDIO, audio_towers.CNN14 if pann else audio_towers.HTSAT),
        *prefixed(_TEXT, text_towers.BERT_WITH_POOLER),
    ]
    ours = state.translated(rules)
    # The stored filterbank is not used with fusion: torchaudio's makes the spectrograms.
    heard = (
        audio_towers.computed_frontend(config.audio.mel)
        if config.audio.long_clips == "fusion"
        else audio_towers.frontend(state, _AUDIO, config.audio.mel)
    )
    model = ours.changed({**ours, **heard.tensors}).model(config)
    return Checkpoint(model, text, origin.source("laion", _LICENCE), heard.findings)


def _check_fusion(state: State, pann: bool) -> None:
    """Refuse the kinds of fusion of which nobody published a checkpoint."""
    fusion = f"{_AUDIO}(patch_embed\\.)?(mel_conv[12]d|fusion_model)\\."
    if not any(re.match(fusion, name) for name in state):
        return
    attention = f"{_AUDIO}patch_embed.fusion_model."
    if (
        pann
        or f"{attention}local_att.0.weight" not in state
        or any(name.startswith(f"{attention}local_att2.") for name in state)
    ):
        raise ClapError(
            f"{state.where} has a feature fusion other than aff_2d in an HTSAT, the one of LAION's "
            "published files; this clap-export knows no other."
        )


def _config(state: State, pann: bool) -> ClapConfig:
    mel = audio_towers.mel(state, _AUDIO, _RATE, _HOP)
    samples = _SECONDS * _RATE
    if pann:
        encoder, fused = AudioEncoderConfig(cnn14=audio_towers.cnn14_config(state, _AUDIO)), False
    else:
        htsat = audio_towers.htsat_config(state, _AUDIO)
        encoder, fused = AudioEncoderConfig(htsat=htsat), htsat.fusion
    if fused:
        mel = replace(mel, scale="htk", norm=None)
    return ClapConfig(
        name="laion-clap",
        licence=_LICENCE,
        embedding_dim=state.size("audio_projection.0.weight"),
        audio=AudioSpec(
            _RATE, samples, samples, "repeatpad", True, mel, "fusion" if fused else "windows"
        ),
        audio_encoder=encoder,
        audio_projection=ProjectionConfig("mlp"),
        text_encoder=TextEncoderConfig(
            "roberta",
            text_towers.bert_options(state, _TEXT) | {"layer_norm_eps": 1e-5},
            "pooler", max_tokens=77, pad_id=1,
        ),
        text_projection=ProjectionConfig("mlp"),
        default_template="This is a sound of {}.",
    )  # fmt: skip
