"""Text towers as transformers names them: BERT, RoBERTa and GPT-2, config read from the shapes."""

from __future__ import annotations

import re
from typing import Any

from clap_export.checkpoints.state import Rule, State, drop

_TARGET = "text_encoder.transformer."
HEAD_SIZE = 64  # of every published BERT, RoBERTa and GPT-2; the files do not say it

_BERT = [
    drop(r"embeddings\.(position_ids|token_type_ids)", "counts from 0, not learned"),
    Rule(r"(embeddings\..*|encoder\.layer\..*)", rf"{_TARGET}\1"),
]
BERT_WITHOUT_POOLER = [*_BERT, drop(r"pooler\..*", "the family takes the CLS state itself")]
BERT_WITH_POOLER = [*_BERT, Rule(r"(pooler\..*)", rf"{_TARGET}\1")]
GPT2 = [
    drop(r"h\.\d+\.attn\.(bias|masked_bias)", "the causal mask, not learned"),
    Rule(r"(wte\.weight|wpe\.weight|h\..*|ln_f\..*)", rf"{_TARGET}\1"),
]


def bert_options(state: State, prefix: str) -> dict[str, Any]:
    """Options of a BERT or RoBERTa in a state dict."""
    embeddings = f"{prefix}embeddings"
    hidden = state.size(f"{embeddings}.word_embeddings.weight", axis=1)
    return {
        "vocab_size": state.size(f"{embeddings}.word_embeddings.weight"),
        "hidden_size": hidden,
        "num_hidden_layers": state.count(re.escape(prefix) + r"encoder\.layer\.(\d+)\."),
        "num_attention_heads": max(1, hidden // HEAD_SIZE),
        "intermediate_size": state.size(f"{prefix}encoder.layer.0.intermediate.dense.weight"),
        "max_position_embeddings": state.size(f"{embeddings}.position_embeddings.weight"),
        "type_vocab_size": state.size(f"{embeddings}.token_type_embeddings.weight"),
    }


def gpt2_options(state: State, prefix: str) -> dict[str, Any]:
    """Options of a GPT-2 in a state dict."""
    hidden = state.size(f"{prefix}wte.weight", axis=1)
    return {
        "vocab_size": state.size(f"{prefix}wte.weight"),
        "n_embd": hidden,
        "n_layer": state.count(re.escape(prefix) + r"h\.(\d+)\."),
        "n_head": max(1, hidden // HEAD_SIZE),
        "n_positions": state.size(f"{prefix}wpe.weight"),
    }
