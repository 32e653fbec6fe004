"""Checkpoints in the originals' formats, refilled from a golden's names and shapes."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE
from torch import Tensor

from clap_export.model.swin import relative_position_index, shifted_window_mask
from tests import tiny
from tests.goldens import recipe
from tests.places import GOLDENS

FOLDER = GOLDENS
NAMES = sorted(path.stem for path in FOLDER.glob("*.npz"))


def golden(name: str) -> dict[str, np.ndarray]:
    """What the original code gave."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return dict(file)


def state_dict(found: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """The original's state dict, with the recipe's weights."""
    layout: dict[str, tuple[str, list[int]]] = json.loads(str(found["layout"]))
    state: dict[str, Tensor] = {}
    for name, (dtype, shape) in layout.items():
        if name.endswith("melW"):
            state[name] = torch.from_numpy(found["melW"])
        elif name.endswith(("conv_real.weight", "conv_imag.weight")):
            part = recipe.torchlibrosa(shape[-1])[name.split(".")[-2]]
            state[name] = torch.from_numpy(part)
        elif name.endswith("attn_mask"):  # HTSAT's constants, which the original loads as well
            grid = 8 * math.isqrt(shape[0])
            state[name] = shifted_window_mask(grid, 8, 4)[:, 0]
        elif name.endswith("relative_position_index"):
            state[name] = relative_position_index(8)
        elif dtype.startswith("float"):
            state[name] = torch.from_numpy(recipe.weight(name, tuple(shape)))
        else:
            state[name] = torch.zeros(shape, dtype=getattr(torch, dtype))
    return state


def wrapped(name: str, state: dict[str, Tensor]) -> dict[str, Any]:
    """The object that the family's training code saves."""
    state = dict(state)
    if name.startswith("msclap"):
        return {"model": state}
    # Written by older versions of transformers, and so found in every published file.
    state["text_branch.embeddings.position_ids"] = torch.arange(514)[None]
    return {
        "epoch": 45, "name": "a run", "best": np.float64(0.8),
        "state_dict": {f"module.{key}": value for key, value in state.items()},
    }  # fmt: skip


def tokenizer_folder(folder: Path, kind: str = "roberta") -> Path:
    """A small tokenizer, for models whose own cannot be had without a network.

    Args:
        folder: made if it is not there; it gets the vocabulary files of every kind.
        kind: of its ``tokenizer.json``: ``bert``, ``roberta`` or ``gpt2``.
    """
    folder.mkdir(exist_ok=True)
    made = tiny.tokenizer() if kind == "bert" else byte_pairs(roberta=kind == "roberta")
    (folder / "tokenizer.json").write_text(made.to_str(), encoding="utf-8")
    vocabulary, merges = _pairs()
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    lines = [" ".join(pair) for pair in merges]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines, ""]), encoding="utf-8")
    words = sorted(tiny.tokenizer().get_vocab().items(), key=lambda item: item[1])
    (folder / "vocab.txt").write_text("\n".join(word for word, _ in words), encoding="utf-8")
    return folder


def byte_pairs(roberta: bool) -> Tokenizer:
    """A small byte-level BPE as GPT-2 has it, or as RoBERTa does, with its special tokens."""
    vocabulary, merges = _pairs()
    made = Tokenizer(BPE(vocabulary, merges, unk_token="<unk>" if roberta else None))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>"] if roberta else ["<|endoftext|>"]
    made.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in special])
    if roberta:
        ends = (("</s>", vocabulary["</s>"]), ("<s>", vocabulary["<s>"]))
        made.post_processor = processors.RobertaProcessing(*ends, add_prefix_space=False)
    return made


def _pairs() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """One vocabulary for both: "!" is 0 as in GPT-2, the padding 1 as in RoBERTa."""
    printable = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    symbols = ["!", "<pad>", "<s>", "</s>", "<unk>", "<mask>", "<|endoftext|>"]
    symbols += [*printable[1:], "\u0120"]
    merges: list[tuple[str, str]] = []
    for word in ("dog", "rain", "siren", " a", " dog", " sound", " of", " rain", "!!", "...", "?!"):
        whole = word.replace(" ", "\u0120")
        for end in range(1, len(whole)):
            pair = (whole[:end], whole[end])
            if pair not in merges:
                merges.append(pair)
                symbols.append("".join(pair))
    return {symbol: index for index, symbol in enumerate(symbols)}, merges


def clap_model(folder: Path, fused: bool) -> Path:
    """A transformers ClapModel of its default sizes, HTSAT-tiny and RoBERTa-base."""
    from transformers import ClapAudioConfig, ClapConfig, ClapFeatureExtractor, ClapModel

    model = ClapModel(ClapConfig(audio_config=ClapAudioConfig(enable_fusion=fused).to_dict()))
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.from_numpy(recipe.weight(name, tuple(tensor.shape))))
    model.save_pretrained(folder)
    truncation = "fusion" if fused else "rand_trunc"
    ClapFeatureExtractor(frequency_min=50, truncation=truncation).save_pretrained(folder)
    return tokenizer_folder(folder)


# LAION's towers with one stage and one layer, in a twelfth of the width.
_SMALL_AUDIO = {96: 16, 288: 48, 384: 64, 768: 16, 512: 32}
_SMALL_TEXT = {768: 64, 3072: 96, 50265: 200, 514: 80, 512: 32}


def small_laion(path: Path) -> Path:
    """An unfused LAION checkpoint in the original's names, small enough to export in seconds."""
    found = golden("laion-tiny")
    layout: dict[str, tuple[str, list[int]]] = json.loads(str(found["layout"]))
    small: dict[str, tuple[str, list[int]]] = {}
    for name, (dtype, shape) in layout.items():
        if re.search(r"layers?\.[1-9]|downsample|tscam|\.head\.", name):
            continue
        sizes = _SMALL_TEXT if name.startswith("text_") else _SMALL_AUDIO
        fixed = re.search(r"bn0|extractor|relative|attn_mask", name)
        small[name] = (dtype, shape if fixed else [sizes.get(n, n) for n in shape])
    state = state_dict(found | {"layout": np.asarray(json.dumps(small))})
    torch.save(wrapped("laion", state), path)
    return path
