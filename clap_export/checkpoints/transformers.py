"""transformers' ``ClapModel``: a folder of ``save_pretrained``, or a hub id.

The config names every size; `preprocessor_config.json` says how audio is prepared.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from clap_export.checkpoints.audio_towers import FUSION, computed_frontend
from clap_export.checkpoints.folder import read_json, read_weights
from clap_export.checkpoints.state import Rule, State, drop, fit, prefixed, tensors, translate
from clap_export.checkpoints.text_towers import BERT_WITH_POOLER
from clap_export.checkpoints.tokenizers import fetch
from clap_export.model.checkpoint import Checkpoint
from clap_export.model.clap import ClapModel
from clap_export.model.config import (
    AudioEncoderConfig,
    ClapConfig,
    ProjectionConfig,
    TextEncoderConfig,
)
from clap_export.model.htsat import HtsatConfig
from runtime.bundle import AudioSpec, Mel, Source, sha256_file
from runtime.errors import ClapError

FILES = ("config.json", "preprocessor_config.json")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")

_BLOCK = r"layers\.(\d+)\.blocks\.(\d+)"
_TO = r"audio_encoder.layers.\1.blocks.\2"
_WB = r"(weight|bias)"
_HTSAT = [
    Rule(
        r"batch_norm\.(weight|bias|running_mean|running_var|num_batches_tracked)",
        r"audio_encoder.bn0.\1",
    ),
    Rule(rf"(patch_embed\.proj|patch_embed\.norm|norm)\.{_WB}", r"audio_encoder.\1.\2"),
    *(
        Rule(rf"{_BLOCK}\.{theirs}\.{_WB}", rf"{_TO}.{ours}.\3")
        for theirs, ours in (
            ("layernorm_before", "norm1"), ("layernorm_after", "norm2"),
            (r"attention\.qkv", "attn.qkv"), (r"attention\.output\.dense", "attn.proj"),
            (r"intermediate\.dense", "mlp.fc1"), (r"output\.dense", "mlp.fc2"),
        )
    ),
    Rule(
        rf"{_BLOCK}\.attention\.self\.relative_position_bias_table",
        rf"{_TO}.attn.relative_position_bias_table",
    ),
    drop(
        rf"{_BLOCK}\.attention\.self\.relative_position_index", "follows from the window size"
    ),
    Rule(
        r"layers\.(\d+)\.downsample\.(norm\.weight|norm\.bias|reduction\.weight)",
        r"audio_encoder.layers.\1.downsample.\2",
    ),
    *FUSION,
]  # fmt: skip
_MLP = [Rule(rf"(linear[12])\.{_WB}", r"\1.\2")]
_RULES = [
    *prefixed("audio_model.audio_encoder.", _HTSAT),
    *prefixed("text_model.", BERT_WITH_POOLER),
    *prefixed("audio_projection.", _MLP, "audio_projection."),
    *prefixed("text_projection.", _MLP, "text_projection."),
    Rule("logit_scale_a", "logit_scale"),
    drop("logit_scale_t", "used in training only"),
]


def build(folder: Path, tokenizer: Path | None, name: str | None = None) -> Checkpoint:
    """Make the model.

    Args:
        folder: with the config, the weights and, unless ``tokenizer`` is given, a tokenizer.
        tokenizer: folder of another tokenizer.
        name: the hub id, if it came from there.

    Raises:
        ClapError: files missing, another architecture, or keys or shapes that do not fit.
    """
    raw, prepare = (read_json(folder / file) for file in FILES)
    if raw.get("model_type") != "clap":
        raise ClapError(
            f"{folder} is no transformers ClapModel: config.json is not of a ClapModel."
        )
    weights, data = read_weights(folder, WEIGHTS)
    config = _config(folder, raw, prepare, (name or folder.name).replace("/", "--"))
    where = str(weights)
    model = ClapModel(config)
    ours = translate(where, _joined_qkv(tensors(where, data)), _RULES)
    ours |= computed_frontend(model)
    fit(where, model, ours)
    vocabulary = config.text_encoder.options["vocab_size"]
    text = fetch(tokenizer or folder, "roberta-base", "roberta", vocabulary)
    licence = "Apache-2.0 (as laion/clap models on the hub; check the model's own card)"
    source = Source("transformers", weights.name, sha256_file(weights), licence)
    return Checkpoint(model.eval(), text, source)


def _config(folder: Path, raw: dict[str, Any], prepare: dict[str, Any], name: str) -> ClapConfig:
    from transformers import ClapConfig as Theirs
    from transformers import ClapFeatureExtractor

    whole: Any = Theirs.from_dict(raw)
    audio, text = whole.audio_config, whole.text_config
    extractor: Any = ClapFeatureExtractor.from_dict(prepare)
    _refuse(
        folder,
        (f"fusion_type {audio.fusion_type}", audio.fusion_type not in (None, "aff_2d")),
        (f"aff_block_r {audio.aff_block_r}", audio.aff_block_r != 4),
        (f"enable_fusion {audio.enable_fusion} with truncation {extractor.truncation}",
         bool(audio.enable_fusion) != (extractor.truncation == "fusion")),
        (f"hidden_act {audio.hidden_act}", audio.hidden_act != "gelu"),
        (f"projection_hidden_act {whole.projection_hidden_act}",
         whole.projection_hidden_act != "relu"),
        (f"patch_stride {audio.patch_stride}",
         tuple(audio.patch_stride) != (audio.patch_size, audio.patch_size)),
        (f"top_db {extractor.top_db}", extractor.top_db is not None),
        (f"padding {extractor.padding}", extractor.padding not in ("repeat", "repeatpad", "pad")),
    )  # fmt: skip
    rate, samples = extractor.sampling_rate, extractor.max_length_s * extractor.sampling_rate
    mel = Mel(
        rate, extractor.fft_window_size, extractor.hop_length, extractor.feature_size,
        float(extractor.frequency_min), float(extractor.frequency_max),
        # With fusion the spectrograms are torchaudio's, without it librosa's.
        *(("htk", None) if audio.enable_fusion else ("slaney", "slaney")), 1e-10,
    )  # fmt: skip
    return ClapConfig(
        name=name,
        licence="see the model's card",
        embedding_dim=whole.projection_dim,
        audio=AudioSpec(
            rate, samples, samples, extractor.padding, False, mel,
            "fusion" if audio.enable_fusion else "windows",
        ),
        audio_encoder=AudioEncoderConfig(
            htsat=HtsatConfig(
                audio.num_mel_bins, audio.spec_size, audio.patch_size,
                audio.patch_embeds_hidden_size, tuple(audio.depths),
                tuple(audio.num_attention_heads), audio.window_size, audio.mlp_ratio,
                audio.qkv_bias, bool(audio.enable_fusion),
            )
        ),
        audio_projection=ProjectionConfig("mlp"),
        text_encoder=TextEncoderConfig(
            "roberta",
            {key: getattr(text, key) for key in (
                "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                "intermediate_size", "hidden_act", "max_position_embeddings", "type_vocab_size",
                "layer_norm_eps", "pad_token_id",
            )},
            "pooler",
            # Positions of RoBERTa begin behind the padding id.
            max_tokens=min(77, text.max_position_embeddings - text.pad_token_id - 1),
            pad_id=text.pad_token_id,
        ),
        text_projection=ProjectionConfig("mlp"),
        default_template="This is a sound of {}.",
    )  # fmt: skip


def _refuse(folder: Path, *problems: tuple[str, bool]) -> None:
    if found := [what for what, there in problems if there]:
        raise ClapError(
            f"{folder}: this clap-export has no {'; '.join(found)}. Use a ClapModel with the "
            "defaults of transformers."
        )


def _joined_qkv(state: State) -> State:
    """Query, key and value as the one matrix that HTSAT had before transformers cut it in three."""
    joined: State = {}
    for name, value in state.items():
        before, found, after = name.partition(".attention.self.query.")
        if name.startswith("audio_model.") and found:
            parts = [f"{before}.attention.self.{p}.{after}" for p in ("query", "key", "value")]
            if all(part in state for part in parts):
                value = torch.cat([state[part] for part in parts])
            joined[f"{before}.attention.qkv.{after}"] = value
        elif not (
            name.startswith("audio_model.")
            and (".attention.self.key." in name or ".attention.self.value." in name)
        ):
            joined[name] = value
    return joined
