"""Microsoft's CLAP: ``CLAP_weights_2022.pth`` (CNN14, BERT) and ``_2023.pth`` (HTSAT, GPT-2).

What the files do not say is from the code of msclap 1.3.4 (its configs and wrapper).
"""

from __future__ import annotations

from pathlib import Path

from clap_export.checkpoints import audio_towers, text_towers
from clap_export.checkpoints.fields import refusing
from clap_export.checkpoints.state import Rule, State, prefixed
from clap_export.checkpoints.tokenizers import BERT_BASE, GPT2_PADDED, fetch_known
from clap_export.checkpoints.weights import Origin
from clap_export.model.checkpoint import Checkpoint
from clap_export.model.config import (
    AudioEncoderConfig,
    ClapConfig,
    ProjectionConfig,
    TextEncoderConfig,
)
from runtime.audio_spec import AudioSpec

_AUDIO, _TEXT = "audio_encoder.base.", "caption_encoder.base."
_HTSAT = f"{_AUDIO}htsat."
MARKS = (_AUDIO, _TEXT)
_LICENCE = "MIT (Microsoft, msclap)"
_RATE, _HOP = 44_100, 320

_PROJECTION = [
    Rule(r"(linear[12]\.weight)", r"\1"),
    Rule(r"layer_norm\.(weight|bias)", r"norm.\1"),
]
_COMMON = [
    *prefixed("audio_encoder.projection.", _PROJECTION, "audio_projection."),
    *prefixed("caption_encoder.projection.", _PROJECTION, "text_projection."),
    Rule("logit_scale", "logit_scale"),
]


def build(state: State, origin: Origin, tokenizer: Path | None) -> Checkpoint:
    """Make the model.

    Raises:
        ClapError: keys or shapes that do not fit (all are listed), or no tokenizer.
    """
    is_2023 = any(name.startswith(_HTSAT) for name in state)
    with refusing(state.where):
        config = _config_2023(state) if is_2023 else _config_2022(state)
    # First what may be missing, then what takes long.
    text = fetch_known(tokenizer, GPT2_PADDED if is_2023 else BERT_BASE, config.text_encoder)
    prefix = _HTSAT if is_2023 else _AUDIO
    rules = [
        *_COMMON,
        *prefixed(prefix, audio_towers.HTSAT if is_2023 else audio_towers.CNN14),
        *prefixed(_TEXT, text_towers.GPT2 if is_2023 else text_towers.BERT_WITHOUT_POOLER),
    ]
    ours = state.translated(rules)
    heard = audio_towers.frontend(state, prefix, config.audio.mel)
    model = ours.changed({**ours, **heard.tensors}).model(config)
    return Checkpoint(model, text, origin.source("msclap", _LICENCE), heard.findings)


def _config_2022(state: State) -> ClapConfig:
    mel = audio_towers.mel(state, _AUDIO, _RATE, _HOP)
    return ClapConfig(
        name="msclap-2022",
        licence=_LICENCE,
        embedding_dim=state.size("audio_encoder.projection.linear1.weight"),
        audio=AudioSpec(_RATE, 5 * _RATE, 5 * _RATE, "repeat", False, mel),
        audio_encoder=AudioEncoderConfig(cnn14=audio_towers.cnn14_config(state, _AUDIO)),
        audio_projection=ProjectionConfig("residual", 0.5),
        text_encoder=TextEncoderConfig(
            "bert", text_towers.bert_options(state, _TEXT), "cls", max_tokens=100, pad_id=0,
            token_type_ids=True,
        ),
        text_projection=ProjectionConfig("residual", 0.5),
        default_template="this is the sound of {}",
    )  # fmt: skip


def _config_2023(state: State) -> ClapConfig:
    # Its HTSAT was built with a filterbank for 32 kHz, and hears 44.1 kHz through it.
    mel = audio_towers.mel(state, _HTSAT, 32_000, _HOP)
    return ClapConfig(
        name="msclap-2023",
        licence=_LICENCE,
        embedding_dim=state.size("audio_encoder.projection.linear1.weight"),
        audio=AudioSpec(_RATE, 7 * _RATE, 7 * _RATE, "repeat", False, mel),
        audio_encoder=AudioEncoderConfig(htsat=audio_towers.htsat_config(state, _HTSAT)),
        audio_projection=ProjectionConfig("residual", 0.5),
        # '!' is id 0 and pads; the state is taken where the ids that are not 0 end. Texts get
        # ' <|endoftext|>' appended: the space here, the rest by the tokenizer.
        text_encoder=TextEncoderConfig(
            "gpt2", text_towers.gpt2_options(state, _TEXT), "last_unpadded", max_tokens=77,
            pad_id=0, suffix=" ",
        ),
        text_projection=ProjectionConfig("residual", 0.5),
        default_template="this is the sound of {}",
    )  # fmt: skip
