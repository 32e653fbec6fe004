"""What the configs in a folder of transformers say, field by field.

``config.json`` names every size. How audio is prepared is in ``preprocessor_config.json``, or since
transformers 5 in ``processor_config.json``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clap_export.checkpoints import fields
from clap_export.checkpoints.fields import (
    TRANSFORMERS_UNUSED,
    Field,
    Problem,
    choice,
    either,
    real,
    refusing,
    whole,
    wholes,
)
from clap_export.checkpoints.weights import read_json
from clap_export.model.bounds import (
    MAX_DFT,
    MAX_LAYERS,
    MAX_MELS,
    MAX_SAMPLE_RATE,
    MAX_SECONDS,
    MAX_SIDE,
    MAX_TOKENS,
    MAX_VOCABULARY,
    MAX_WIDTH,
    MAX_WINDOW,
)
from clap_export.model.config import (
    ACTIVATIONS,
    AudioEncoderConfig,
    ClapConfig,
    HtsatConfig,
    ProjectionConfig,
    TextEncoderConfig,
)
from runtime.audio_spec import AudioSpec, Mel
from runtime.errors import ClapError

_PREPROCESSOR, _PROCESSOR = "preprocessor_config.json", "processor_config.json"
CONFIGS = ("config.json", _PREPROCESSOR, _PROCESSOR)
# Fields with transformers' defaults. What has one value only is what `ClapModel` computes then.
_MODEL: dict[str, Field] = {
    "model_type": choice("", "clap"),
    "projection_dim": whole(512, MAX_WIDTH),
    "projection_hidden_act": choice("relu", "relu"),
}
# Sizes and starting values that the parts say themselves.
_MODEL_UNUSED = TRANSFORMERS_UNUSED | frozenset(
    "text_config audio_config logit_scale_init_value hidden_size num_hidden_layers".split()
)
# What makes a decoder of a text model, or leaves a part of it out.
_ENCODER_ONLY = {
    "is_decoder": choice(False, False),
    "is_encoder_decoder": choice(False, False),
    "add_cross_attention": choice(False, False),
    "cross_attention_hidden_size": choice(None, None),
    "pruned_heads": choice({}, {}),
}
_TEXT: dict[str, Field] = {
    **_ENCODER_ONLY,
    "model_type": choice("clap_text_model", "clap_text_model"),
    "position_embedding_type": choice("absolute", "absolute"),
    "vocab_size": whole(50_265, MAX_VOCABULARY),
    "hidden_size": whole(768, MAX_WIDTH),
    "num_hidden_layers": whole(12, MAX_LAYERS),
    "num_attention_heads": whole(12, MAX_WIDTH),
    "intermediate_size": whole(3072, MAX_WIDTH),
    "hidden_act": choice("gelu", *ACTIVATIONS),
    "max_position_embeddings": whole(514, MAX_TOKENS),
    "type_vocab_size": whole(1, MAX_VOCABULARY),
    "layer_norm_eps": real(1e-12, 1.0),
    "pad_token_id": whole(1, MAX_VOCABULARY, least=0),
}
# The model's own fields stand above those of its parts; dropout is for training.
_PART_UNUSED = TRANSFORMERS_UNUSED | frozenset(
    "projection_dim projection_hidden_act hidden_dropout_prob attention_probs_dropout_prob "
    "classifier_dropout".split()
)
_AUDIO: dict[str, Field] = {
    **_ENCODER_ONLY,
    "model_type": choice("clap_audio_model", "clap_audio_model"),
    "num_mel_bins": whole(64, MAX_MELS),
    "spec_size": whole(256, MAX_SIDE),
    "patch_size": either(whole(4, MAX_SIDE), wholes((4, 4), MAX_SIDE, 2)),
    "patch_stride": either(wholes((4, 4), MAX_SIDE, 2), whole(4, MAX_SIDE)),
    "patch_embeds_hidden_size": whole(96, MAX_WIDTH),
    "patch_embed_input_channels": choice(1, 1),
    "flatten_patch_embeds": choice(True, True),
    "enable_patch_layer_norm": choice(True, True),
    "depths": wholes((2, 2, 6, 2), MAX_LAYERS),
    "num_attention_heads": wholes((4, 8, 16, 32), MAX_WIDTH),
    "window_size": whole(8, MAX_WINDOW),
    "mlp_ratio": real(4.0, 64, 1 / 64),
    "qkv_bias": choice(True, True, False),
    "hidden_act": choice("gelu", "gelu", "gelu_new", "relu", "silu"),
    "layer_norm_eps": real(1e-5, 1.0),
    "enable_fusion": choice(False, True, False),
    "fusion_type": choice(None, None, "aff_2d"),
    "aff_block_r": choice(4, 4),
}
# The stages say how many channels and layers there are; classes are of a head that CLAP has not.
_AUDIO_UNUSED = _PART_UNUSED | frozenset(
    "hidden_size num_hidden_layers num_classes drop_path_rate".split()
)
_EXTRACTOR: dict[str, Field] = {
    "feature_extractor_type": choice("ClapFeatureExtractor", "ClapFeatureExtractor"),
    "feature_size": whole(64, MAX_MELS),
    "sampling_rate": whole(48_000, MAX_SAMPLE_RATE),
    "hop_length": whole(480, MAX_DFT),
    "max_length_s": whole(10, MAX_SECONDS),
    "fft_window_size": whole(1024, MAX_DFT, least=2),
    "padding_value": real(0.0, 0.0),
    "frequency_min": real(0, MAX_SAMPLE_RATE),
    "frequency_max": real(14_000, MAX_SAMPLE_RATE),
    "top_db": choice(None, None),
    "truncation": choice("fusion", "fusion", "rand_trunc"),
    "padding": choice("repeatpad", "repeat", "repeatpad", "pad"),
}
# What follows from the fields above, and the names of classes.
_EXTRACTOR_UNUSED = frozenset(
    "chunk_length_s n_fft nb_frequency_bins nb_max_samples padding_side processor_class "
    "return_attention_mask return_tensors".split()
)


def read_config(folder: Path, name: str) -> ClapConfig:
    """The model that a folder's configs describe.

    Args:
        folder: of the model.
        name: what to call it.

    Raises:
        ClapError: a file is missing or unreadable, or has fields that cannot be followed (all are
            listed).
    """
    raw = read_json(folder / "config.json")
    if raw.get("model_type") != "clap":
        raise ClapError(
            f"{folder} is no transformers ClapModel: config.json is not of a ClapModel."
        )
    with refusing(str(folder / "config.json")):
        return _config(folder, raw, _read_extractor(folder), name)


def _read_extractor(folder: Path) -> dict[str, Any]:
    """The feature extractor's config, from where the library that wrote it puts it.

    Where both files are there, transformers 5 takes the newer one.
    """
    if (folder / _PROCESSOR).is_file():
        inner = read_json(folder / _PROCESSOR).get("feature_extractor")
        if isinstance(inner, dict):
            return inner
    return read_json(folder / _PREPROCESSOR)


def _config(folder: Path, raw: dict[str, Any], prepare: dict[str, Any], name: str) -> ClapConfig:
    problems: list[Problem] = []
    whole_model = fields.read("config.json", raw, _MODEL, _MODEL_UNUSED, problems)
    text = fields.read("text_config", raw.get("text_config"), _TEXT, _PART_UNUSED, problems)
    audio = fields.read("audio_config", raw.get("audio_config"), _AUDIO, _AUDIO_UNUSED, problems)
    extractor = fields.read("feature extractor", prepare, _EXTRACTOR, _EXTRACTOR_UNUSED, problems)
    if not problems:
        problems += _contradictions(audio, text, extractor)
    if problems:
        said = "; ".join(f"{p.field} {p.shown} ({p.table}: {p.takes})" for p in problems)
        raise ClapError(
            f"{folder}: this clap-export has no {said}. Use a ClapModel with the "
            "defaults of transformers."
        )
    rate, samples = (
        extractor["sampling_rate"],
        extractor["max_length_s"] * extractor["sampling_rate"],
    )
    mel = Mel(
        rate, extractor["fft_window_size"], extractor["hop_length"], extractor["feature_size"],
        float(extractor["frequency_min"]), float(extractor["frequency_max"]),
        # With fusion the spectrograms are torchaudio's, without it librosa's.
        *(("htk", None) if audio["enable_fusion"] else ("slaney", "slaney")), 1e-10,
    )  # fmt: skip
    options = {key: value for key, value in text.items() if key in _TEXT_OPTIONS}
    return ClapConfig(
        name=name,
        licence="see the model's card",
        embedding_dim=whole_model["projection_dim"],
        audio=AudioSpec(
            rate, samples, samples, extractor["padding"], False, mel,
            "fusion" if audio["enable_fusion"] else "windows",
        ),
        audio_encoder=AudioEncoderConfig(
            htsat=HtsatConfig(
                n_mels=audio["num_mel_bins"], spec_size=audio["spec_size"],
                patch_size=_side(audio["patch_size"]),
                embed_dim=audio["patch_embeds_hidden_size"], depths=tuple(audio["depths"]),
                num_heads=tuple(audio["num_attention_heads"]), window_size=audio["window_size"],
                mlp_ratio=float(audio["mlp_ratio"]), qkv_bias=audio["qkv_bias"],
                fusion=audio["enable_fusion"], layer_norm_eps=float(audio["layer_norm_eps"]),
                activation=audio["hidden_act"],
            )
        ),
        audio_projection=ProjectionConfig("mlp"),
        text_encoder=TextEncoderConfig(
            "roberta", options, "pooler",
            # Positions of RoBERTa begin behind the padding id.
            max_tokens=min(77, text["max_position_embeddings"] - text["pad_token_id"] - 1),
            pad_id=text["pad_token_id"],
        ),
        text_projection=ProjectionConfig("mlp"),
        default_template="This is a sound of {}.",
    )  # fmt: skip


_TEXT_OPTIONS = frozenset(
    "vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act "
    "max_position_embeddings type_vocab_size layer_norm_eps pad_token_id".split()
)


def _side(value: Any) -> Any:
    """The side of a square that is given as one number or as two; None if it is no square."""
    sides = {value} if isinstance(value, int) else set(value)
    return sides.pop() if len(sides) == 1 else None


def _contradictions(
    audio: dict[str, Any], text: dict[str, Any], extractor: dict[str, Any]
) -> list[Problem]:
    """Fields that are fine by themselves and not together."""
    found: list[Problem] = []
    fused, truncation = audio["enable_fusion"], extractor["truncation"]
    size, stride = _side(audio["patch_size"]), _side(audio["patch_stride"])
    if fused != (truncation == "fusion"):
        what = f"enable_fusion {fused} with truncation"
        found.append(Problem("audio_config", what, truncation, "they go together"))
    if size is None or size != stride:
        found.append(Problem("audio_config", "patch_stride", audio["patch_stride"],
                             f"patch_size is {audio['patch_size']}"))  # fmt: skip
    if extractor["feature_size"] != audio["num_mel_bins"]:
        found.append(Problem("feature extractor", "feature_size", extractor["feature_size"],
                             f"num_mel_bins is {audio['num_mel_bins']}"))  # fmt: skip
    positions = text["max_position_embeddings"]
    if positions < text["pad_token_id"] + 3:  # those of RoBERTa begin behind the padding id
        takes = f"max_position_embeddings is {positions}"
        found.append(Problem("text_config", "pad_token_id", text["pad_token_id"], takes))
    return found
