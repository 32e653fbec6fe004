"""Pretrained towers for a fresh model: every tensor of a file is used, or dropped for a reason."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from clap_export.checkpoints import audio_towers, text_towers
from clap_export.checkpoints.families import download
from clap_export.checkpoints.state import Rule, State, drop, prefixed
from clap_export.checkpoints.tokenizers import fetch
from clap_export.checkpoints.weights import read_file, read_json, read_weights
from clap_export.checkpoints.wrappers import find
from clap_export.model.clap import ClapModel
from clap_export.model.config import ClapConfig, TextEncoderConfig
from runtime.errors import ClapError

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")

# What of a transformers config a text tower is built from; the rest is about heads and caches.
_BERT_OPTIONS = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "hidden_act", "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "pad_token_id",
)  # fmt: skip
_GPT2_OPTIONS = (
    "vocab_size", "n_embd", "n_layer", "n_head", "n_inner", "n_positions", "activation_function",
    "layer_norm_epsilon",
)  # fmt: skip
_OPTIONS = {"bert": _BERT_OPTIONS, "roberta": _BERT_OPTIONS, "gpt2": _GPT2_OPTIONS}
# Of PANNs' CNN14 and of HTS-AT; whatever their training code put around them is taken off.
_AUDIO_MARKS = {
    "cnn14": ("conv_block1.conv1.weight",),
    "htsat": ("patch_embed.proj.weight", "layers.0."),
}
# The name that a model with a head gives to the model inside it, and the heads.
_INSIDE = {"bert": "bert.", "roberta": "roberta.", "gpt2": "transformer."}
_HEAD = drop(r"(cls|lm_head|classifier|score)\..*", "a head: no part of a sentence's state")


@dataclass(frozen=True)
class TextStart:
    """A text tower to begin with.

    Attributes:
        config: of the encoder, its sizes filled in.
        tokenizer: that it was trained with.
        state: its weights, named as in a :class:`ClapModel`.
    """

    config: TextEncoderConfig
    tokenizer: Tokenizer
    state: State


def read_text(source: str, wanted: TextEncoderConfig) -> TextStart:
    """Read a BERT, RoBERTa or GPT-2 of transformers.

    Args:
        source: its folder, or its id on the Hugging Face hub.
        wanted: its kind, pooling and tokens; its ``options`` go before those of the file.

    Raises:
        ClapError: not to be had, of another kind, with another padding token, too short for
            ``max_tokens``, or tensors that are not known.
    """
    folder = Path(source) if Path(source).is_dir() else download(source, "text_init")
    raw = read_json(folder / "config.json")
    kind = wanted.model_type
    if raw.get("model_type") != kind:
        raise ClapError(
            f"text_init {source} is a {raw.get('model_type')}, but text_encoder.model_type is "
            f"{kind}."
        )
    options = {k: v for k, v in _defaults(kind, raw).items() if k in _OPTIONS[kind]}
    config = replace(wanted, options={**options, **wanted.options})
    _check_tokens(source, config)
    weights = read_weights(folder, _WEIGHTS)
    state = State.of(weights.where, weights.data)
    state = state.changed({_modern(name): value for name, value in state.items()})
    ours = state.translated(_text_rules(config))
    # Its own tokenizer, never the hub's of the same kind: the vocabularies differ.
    text = fetch(folder, source, kind, config.options["vocab_size"])
    return TextStart(config, Tokenizer.from_str(text), ours)


def with_text(config: ClapConfig, start: TextStart) -> ClapConfig:
    """A model whose text tower has the sizes of a pretrained one."""
    return replace(config, text_encoder=start.config)


def fill_text(model: ClapModel, start: TextStart) -> None:
    """Load a pretrained text tower.

    Raises:
        ClapError: tensors missing, unexpected or of other shapes (all are listed).
    """
    _fill(model, "text_encoder.", start.state)


def fill_audio(model: ClapModel, path: Path) -> None:
    """Load a pretrained audio tower: PANNs' CNN14 or HTS-AT's, as their authors saved them.

    Their frontends are dropped. They are those of 32 kHz, while the model's config says how its
    spectrograms are made, and the towers are trained on.

    Raises:
        ClapError: unreadable, of the other architecture, or tensors that are unknown, missing or of
            other shapes (all are listed).
    """
    if not path.is_file():
        raise ClapError(f"audio_init {path} does not exist.")
    weights = read_file(path)
    inside = find(weights.where, weights.data, _AUDIO_MARKS)
    if inside is None or getattr(model.config.audio_encoder, inside[0]) is None:
        holds = "neither a CNN14 nor an HTSAT" if inside is None else f"a tower of {inside[0]}"
        raise ClapError(
            f"audio_init {path} is not of the architecture in [model.audio_encoder]: it holds "
            f"{holds}."
        )
    found, state = inside
    rules = audio_towers.CNN14 if found == "cnn14" else audio_towers.HTSAT
    _fill(model, "audio_encoder.", state.translated(rules))


def _fill(model: ClapModel, tower: str, state: State) -> None:
    rest = {k: v for k, v in model.state_dict().items() if not k.startswith(tower)}
    state.changed({**rest, **state}).fit(model)


def _defaults(kind: str, raw: dict[str, Any]) -> dict[str, Any]:
    from transformers import AutoConfig

    fields = {key: value for key, value in raw.items() if key != "model_type"}
    return AutoConfig.for_model(kind, **fields).to_dict()


def _check_tokens(source: str, config: TextEncoderConfig) -> None:
    options = config.options
    pad = options.get("pad_token_id", config.pad_id)
    if pad != config.pad_id:
        raise ClapError(
            f"text_init {source} pads with token {pad}, text_encoder.pad_id is {config.pad_id}."
        )
    positions = options.get("n_positions") or options["max_position_embeddings"]
    if config.model_type == "roberta":  # its positions begin behind the padding id
        positions -= options["pad_token_id"] + 1
    if config.max_tokens > positions:
        raise ClapError(
            f"text_init {source} reads {positions} tokens at most, text_encoder.max_tokens is "
            f"{config.max_tokens}."
        )


def _text_rules(config: TextEncoderConfig) -> list[Rule]:
    kind = config.model_type
    if kind == "gpt2":
        rules = text_towers.GPT2
    elif config.pooling == "pooler":
        rules = text_towers.BERT_WITH_POOLER
    else:
        rules = text_towers.BERT_WITHOUT_POOLER
    return [_HEAD, *prefixed(_INSIDE[kind], rules), *rules]


def _modern(name: str) -> str:
    """The first BERTs came from TensorFlow and call a norm's weight gamma, its bias beta."""
    return re.sub(r"LayerNorm\.beta$", "LayerNorm.bias",
                  re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name))  # fmt: skip
