"""Checkpoints in the originals' formats, refilled from a golden's names and shapes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import torch

from benchmarks.generated.checkpoints import (
    NAMES,
    clap_model,
    golden,
    state_dict,
    wrapped,
)
from benchmarks.generated.tokenizers import byte_pairs, tokenizer_folder
from tests.goldens import recipe

__all__ = [
    "NAMES",
    "byte_pairs",
    "clap_model",
    "golden",
    "recipe",
    "small_laion",
    "state_dict",
    "tokenizer_folder",
    "wrapped",
]

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
