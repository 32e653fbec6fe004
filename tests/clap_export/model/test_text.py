"""Text towers against transformers' own forward pass, with the mask that transformers makes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel

from clap_export.model.config import TextEncoderConfig
from clap_export.model.text import TextEncoder
from runtime.errors import ClapError
from tests import tiny

# RoBERTa counts positions from its padding id: 1 by default, 0 in the tiny models.
ROBERTA_PAD_1 = dataclasses.replace(
    tiny.TEXT["roberta-mean"],
    options={**tiny.TEXT["roberta-mean"].options, "pad_token_id": 1},
    pad_id=1,
)
CASES = {**tiny.TEXT, "roberta-pad-1": ROBERTA_PAD_1}


def tower(config: TextEncoderConfig) -> TextEncoder:
    """A random tower in evaluation mode, with a vocabulary of 60."""
    torch.manual_seed(0)
    config = dataclasses.replace(config, options={**config.options, "vocab_size": 60})
    encoder = TextEncoder(config).eval()
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            parameter.normal_(1.0 if "norm" in name.lower() and "weight" in name else 0.0, 0.3)
    return encoder


def theirs(encoder: TextEncoder, batch: dict[str, Tensor]) -> np.ndarray:
    """transformers' default model with the same weights, pooled a text at a time in float64."""
    config = encoder.config
    options = AutoConfig.for_model(config.model_type, **config.options)
    model = AutoModel.from_config(options).eval()
    assert model.config._attn_implementation != "eager"  # a way of its own to the same numbers
    missing, unexpected = model.load_state_dict(encoder.transformer.state_dict(), strict=False)
    assert not unexpected
    assert all(key.startswith("pooler.") for key in missing)
    with torch.no_grad():
        output = model(**batch)
    states = output.last_hidden_state.double().numpy()
    pooled = []
    for row, mask in enumerate(batch["attention_mask"].numpy()):
        real = states[row][mask == 1]
        if config.pooling == "pooler":
            weights = {k: v.double().numpy() for k, v in model.pooler.state_dict().items()}
            pooled.append(np.tanh(weights["dense.weight"] @ real[0] + weights["dense.bias"]))
        else:
            pick = {"cls": real[0], "mean": real.mean(axis=0), "last": real[-1]}
            pooled.append(pick[config.pooling])
    return np.array(pooled)


@pytest.mark.parametrize("name", CASES)
def test_matches_transformers(name: str) -> None:
    encoder = tower(CASES[name])
    batch = tiny.tokens(5, encoder.config)
    with torch.no_grad():
        got = encoder(**batch).numpy()
    want = theirs(encoder, batch)
    assert got.shape == (5, encoder.width) == (5, 32)
    assert np.abs(want[0] - want[1]).max() > 0.1
    assert np.abs(got - want).max() < 1e-5 * max(1.0, np.abs(want).max())


@pytest.mark.parametrize("name", CASES)
def test_padding_changes_nothing(name: str) -> None:
    encoder = tower(CASES[name])
    batch = tiny.tokens(5, encoder.config)
    with torch.no_grad():
        padded = encoder(**batch)
        for row, length in enumerate(batch["attention_mask"].sum(1).tolist()):
            alone = encoder(**{k: v[row : row + 1, :length] for k, v in batch.items()})
            assert (alone[0] - padded[row]).abs().max() < 1e-5 * padded.abs().max()
        other = {**batch, "input_ids": batch["input_ids"].clone()}
        other["input_ids"][batch["attention_mask"] == 0] = 7
        if CASES[name].model_type != "roberta":  # its positions are told by the padding id
            assert torch.equal(encoder(**other), padded)


def test_token_types_are_used_only_if_the_config_says_so() -> None:
    for name, used in (("bert-mean", True), ("bert-pooler", False)):
        encoder = tower(tiny.TEXT[name])
        batch = tiny.tokens(2, encoder.config)
        zeros = torch.zeros_like(batch["input_ids"])
        batch.pop("token_type_ids", None)
        with torch.no_grad():
            plain = encoder(**batch)
            assert torch.equal(encoder(**batch, token_type_ids=zeros), plain)
            changed = not torch.equal(encoder(**batch, token_type_ids=zeros + 1), plain)
        assert changed == used


def test_only_the_pooler_pooling_has_a_pooler() -> None:
    for name, config in tiny.TEXT.items():
        keys = [k for k in tower(config).state_dict() if "pooler" in k]
        assert bool(keys) == (config.pooling == "pooler"), name


def test_unknown_options_are_all_listed() -> None:
    config = tiny.TEXT["bert-mean"]
    options = {**config.options, "hiden_size": 32, "num_layers": 2}
    with pytest.raises(ClapError, match=r"bert has no hiden_size, num_layers"):
        TextEncoder(dataclasses.replace(config, options=options))
