"""transformers' ``ClapModel``: a folder of ``save_pretrained``, or a hub id."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from clap_export.checkpoints.audio_towers import FUSION, computed_frontend
from clap_export.checkpoints.state import Rule, State, drop, prefixed
from clap_export.checkpoints.text_towers import BERT_WITH_POOLER
from clap_export.checkpoints.tokenizers import ROBERTA_BASE, fetch, fetch_known
from clap_export.checkpoints.transformers_config import read_config
from clap_export.checkpoints.weights import read_weights
from clap_export.checkpoints.wrappers import find
from clap_export.model.checkpoint import Checkpoint

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
MARKS = ("audio_model.audio_encoder.", "text_model.embeddings.")

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
    config = read_config(folder, (name or folder.name).replace("/", "--"))
    weights = read_weights(folder, WEIGHTS)
    found = find(weights.where, weights.data, {"transformers": MARKS})
    state = State.of(weights.where, weights.data) if found is None else found[1]
    ours = _joined_qkv(state).translated(_RULES)
    heard = computed_frontend(config.audio.mel)
    model = ours.changed({**ours, **heard.tensors}).model(config)
    # The folder's own tokenizer may be of any kind, as transformers has it.
    text = (
        fetch_known(tokenizer, ROBERTA_BASE, config.text_encoder)
        if tokenizer is not None
        else fetch(folder, "roberta-base", "roberta", config.text_encoder.options["vocab_size"])
    )
    licence = "Apache-2.0 (as laion/clap models on the hub; check the model's own card)"
    return Checkpoint(model, text, weights.origin.source("transformers", licence))


def _joined_qkv(state: State) -> State:
    """Query, key and value as the one matrix that HTSAT had before transformers cut it in three."""
    joined: dict[str, Tensor] = {}
    for name, value in state.items():
        before, found, after = name.partition(".attention.self.query.")
        if name.startswith("audio_model.") and found:
            parts = [f"{before}.attention.self.{p}.{after}" for p in ("query", "key", "value")]
            if all(part in state and state[part].shape[1:] == value.shape[1:] for part in parts):
                value = torch.cat([state[part] for part in parts])
            joined[f"{before}.attention.qkv.{after}"] = value
        elif not (
            name.startswith("audio_model.")
            and (".attention.self.key." in name or ".attention.self.value." in name)
        ):
            joined[name] = value
    return state.changed(joined)
