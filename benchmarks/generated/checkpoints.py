"""Checkpoints in the originals' formats and full size, with generated weights.

The names and shapes of an original's tensors are those that its own code gave: they are recorded in
``tests/goldens/NAME.npz``.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.generated.tokenizers import tokenizer_folder
from benchmarks.generated.weights import torchlibrosa, weight
from clap_export.model.config import AudioEncoderConfig, ClapConfig
from clap_export.model.swin import relative_position_index, shifted_window_mask

GOLDENS = Path(__file__).parents[2] / "tests" / "goldens"
NAMES = sorted(path.stem for path in GOLDENS.glob("*.npz"))


def golden(name: str) -> dict[str, np.ndarray]:
    """What the original code gave."""
    with np.load(GOLDENS / f"{name}.npz", allow_pickle=False) as file:
        return dict(file)


def state_dict(found: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """The original's state dict, with the recipe's weights."""
    layout: dict[str, tuple[str, list[int]]] = json.loads(str(found["layout"]))
    state: dict[str, Tensor] = {}
    for name, (dtype, shape) in layout.items():
        if name.endswith("melW"):
            state[name] = torch.from_numpy(found["melW"])
        elif name.endswith(("conv_real.weight", "conv_imag.weight")):
            part = torchlibrosa(shape[-1])[name.split(".")[-2]]
            state[name] = torch.from_numpy(part)
        elif name.endswith("attn_mask"):  # HTSAT's constants, which the original loads as well
            grid = 8 * math.isqrt(shape[0])
            state[name] = shifted_window_mask(grid, 8, 4)[:, 0]
        elif name.endswith("relative_position_index"):
            state[name] = relative_position_index(8)
        elif dtype.startswith("float"):
            state[name] = torch.from_numpy(weight(name, tuple(shape)))
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


def clap_model(folder: Path, fused: bool) -> Path:
    """A transformers ClapModel of its default sizes, HTSAT-tiny and RoBERTa-base."""
    from transformers import ClapAudioConfig, ClapConfig, ClapFeatureExtractor, ClapModel

    model = ClapModel(ClapConfig(audio_config=ClapAudioConfig(enable_fusion=fused).to_dict()))
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.from_numpy(weight(name, tuple(tensor.shape))))
    model.save_pretrained(folder)
    truncation = "fusion" if fused else "rand_trunc"
    ClapFeatureExtractor(frequency_min=50, truncation=truncation).save_pretrained(folder)
    return tokenizer_folder(folder)


def without_dropout(made: ClapConfig) -> ClapConfig:
    """The same model, of CNN14 and BERT, with nothing random in training."""
    encoder = made.audio_encoder.cnn14
    assert encoder is not None
    options = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    text = replace(made.text_encoder, options={**made.text_encoder.options, **options})
    return replace(
        made,
        audio_encoder=AudioEncoderConfig(
            cnn14=replace(encoder, block_dropout=0.0, head_dropout=0.0)
        ),
        text_encoder=text,
        audio_projection=replace(made.audio_projection, dropout=0.0),
    )
