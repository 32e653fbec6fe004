"""Microsoft's CLAP: ``CLAP_weights_2022.pth`` (CNN14, BERT) and ``_2023.pth`` (HTSAT, GPT-2).

What the files do not say is from the code of msclap 1.3.4 (its configs and wrapper).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clap_export.checkpoints import audio_towers, text_towers
from clap_export.checkpoints.state import (
    Rule,
    State,
    fit,
    holds,
    prefixed,
    size,
    tensors,
    translate,
)
from clap_export.checkpoints.tokenizers import fetch
from clap_export.model.checkpoint import Checkpoint
from clap_export.model.clap import ClapModel
from clap_export.model.config import (
    AudioEncoderConfig,
    ClapConfig,
    ProjectionConfig,
    TextEncoderConfig,
)
from runtime.bundle import AudioSpec, Source, sha256_file

_AUDIO, _TEXT = "audio_encoder.base.", "caption_encoder.base."
_HTSAT = f"{_AUDIO}htsat."
_LICENCE = "MIT (Microsoft, msclap)"
_HOP = 320

_PROJECTION = [
    Rule(r"(linear[12]\.weight)", r"\1"),
    Rule(r"layer_norm\.(weight|bias)", r"norm.\1"),
]
_COMMON = [
    *prefixed("audio_encoder.projection.", _PROJECTION, "audio_projection."),
    *prefixed("caption_encoder.projection.", _PROJECTION, "text_projection."),
    Rule("logit_scale", "logit_scale"),
]


def claims(data: object) -> bool:
    """Whether a file's object is one of msclap: both towers in a state dict, or under ``model``."""
    return holds(data, "model", _AUDIO, _TEXT)


def build(path: Path, data: dict[str, Any], tokenizer: Path | None) -> Checkpoint:
    """Make the model.

    Raises:
        ClapError: keys or shapes that do not fit (all are listed), or no tokenizer.
    """
    where = str(path)
    state = tensors(where, data.get("model", data))
    is_2023 = any(name.startswith(_HTSAT) for name in state)
    config = _config_2023(where, state) if is_2023 else _config_2022(where, state)
    kind, hub_id = ("gpt2", "gpt2") if is_2023 else ("bert", "bert-base-uncased")
    # First what may be missing, then what takes long.
    text = fetch(tokenizer, hub_id, kind, config.text_encoder.options["vocab_size"])
    prefix = _HTSAT if is_2023 else _AUDIO
    rules = [
        *_COMMON,
        *prefixed(prefix, audio_towers.HTSAT if is_2023 else audio_towers.CNN14),
        *prefixed(_TEXT, text_towers.GPT2 if is_2023 else text_towers.BERT_WITHOUT_POOLER),
    ]
    model = ClapModel(config)
    ours = translate(where, state, rules) | audio_towers.frontend(where, state, prefix)
    fit(where, model, ours)
    source = Source(config.name, path.name, sha256_file(path), _LICENCE)
    return Checkpoint(model.eval(), text, source)


def _config_2022(where: str, state: State) -> ClapConfig:
    rate = 44_100
    mel = audio_towers.mel(where, state, _AUDIO, rate, _HOP)
    return ClapConfig(
        name="msclap-2022",
        licence=_LICENCE,
        embedding_dim=size(where, state, "audio_encoder.projection.linear1.weight"),
        audio=AudioSpec(rate, 5 * rate, 5 * rate, "repeat", False, mel),
        audio_encoder=AudioEncoderConfig(cnn14=audio_towers.cnn14_config(where, state, _AUDIO)),
        audio_projection=ProjectionConfig("residual", 0.5),
        text_encoder=TextEncoderConfig(
            "bert", text_towers.bert_options(where, state, _TEXT), "cls", max_tokens=100, pad_id=0,
            token_type_ids=True,
        ),
        text_projection=ProjectionConfig("residual", 0.5),
        default_template="this is the sound of {}",
    )  # fmt: skip


def _config_2023(where: str, state: State) -> ClapConfig:
    rate = 44_100
    # Its HTSAT was built with a filterbank for 32 kHz, and hears 44.1 kHz through it.
    mel = audio_towers.mel(where, state, _HTSAT, 32_000, _HOP)
    return ClapConfig(
        name="msclap-2023",
        licence=_LICENCE,
        embedding_dim=size(where, state, "audio_encoder.projection.linear1.weight"),
        audio=AudioSpec(rate, 7 * rate, 7 * rate, "repeat", False, mel),
        audio_encoder=AudioEncoderConfig(htsat=audio_towers.htsat_config(where, state, _HTSAT)),
        audio_projection=ProjectionConfig("residual", 0.5),
        # '!' is id 0 and pads; the state is taken where the ids that are not 0 end.
        text_encoder=TextEncoderConfig(
            "gpt2", text_towers.gpt2_options(where, state, _TEXT), "last_unpadded", max_tokens=77,
            pad_id=0, suffix=" <|endoftext|>",
        ),
        text_projection=ProjectionConfig("residual", 0.5),
        default_template="this is the sound of {}",
    )  # fmt: skip
