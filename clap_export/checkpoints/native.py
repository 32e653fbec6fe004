"""The project's own checkpoint: weights, config and tokenizer in one file.

``.safetensors``: the tensors of the state dict; in the metadata one key, ``clap_export``, a JSON
object of ``format``, ``version``, ``config`` and ``tokenizer`` (a tokenizers JSON as a string).
``.pt``: the same object with ``state_dict`` added, saved by `torch.save`. The content decides which
one a file is, not its name.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as safetensors

from clap_export.checkpoints import wrappers
from clap_export.checkpoints.fields import refusing
from clap_export.checkpoints.state import State
from clap_export.checkpoints.tokenizers import parse
from clap_export.checkpoints.weights import Weights, parse_json
from clap_export.model.checkpoint import Checkpoint
from clap_export.model.clap import ClapModel
from clap_export.model.config import ClapConfig
from runtime.errors import ClapError
from runtime.files import writing

FORMAT = "clap-export-checkpoint"
VERSION = 1
METADATA_KEY = "clap_export"
MARKS = ("audio_encoder.", "text_encoder.transformer.")


def save(path: Path, model: ClapModel, tokenizer: str) -> None:
    """Write a checkpoint; ``.pt`` by `torch.save`, anything else as safetensors.

    Raises:
        ClapError: it cannot be written; what was there before is whole.
    """
    header: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "config": model.config.to_dict(),
        "tokenizer": tokenizer,
    }
    state = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    # Made in memory: the libraries' own writers hide what a disk says, and safetensors makes files
    # that only their owner may read.
    if path.suffix == ".pt":
        torch.save({**header, "state_dict": state}, made := io.BytesIO())
        data = made.getvalue()
    else:
        data = safetensors(state, metadata={METADATA_KEY: json.dumps(header)})
    with writing(path) as part:
        part.write_bytes(data)


def header_of(weights: Weights) -> dict[str, Any]:
    """The object that says what a file of this family is; of other files, whatever is there."""
    if not weights.metadata:
        return weights.data if isinstance(weights.data, dict) else {}
    text = weights.metadata.get(METADATA_KEY, "{}")
    header = parse_json(text, f"{weights.where} (metadata)")
    return header if isinstance(header, dict) else {}


def claims(header: dict[str, Any]) -> bool:
    """Whether a file's metadata or top-level object is of this family."""
    return header.get("format") == FORMAT


def build(weights: Weights) -> Checkpoint:
    """Make the model from a checkpoint's parts.

    Raises:
        ClapError: another version, a config that does not fit, no usable tokenizer, or tensors
            missing, unexpected, of other shapes or not finite (all are listed).
    """
    where, header = weights.where, header_of(weights)
    if header.get("version") != VERSION:
        raise ClapError(
            f"{where} is a checkpoint of version {header.get('version')!r}; this clap-export reads "
            f"{VERSION}. Save it again with the version that wrote it, or upgrade."
        )
    missing = [key for key in ("config", "tokenizer") if key not in header]
    unknown = sorted(
        map(str, set(header) - {"format", "version", "config", "tokenizer", "state_dict"})
    )
    if missing or unknown:
        raise ClapError(f"{where}: header keys missing: {missing}; unknown: {unknown}.")
    parse(header["tokenizer"], where)
    with refusing(f"{where} (config)"):
        config = ClapConfig.from_dict(header["config"], f"{where} (config)")
    model = _state(where, header.get("state_dict", weights.data)).model(config)
    source = weights.origin.source("native", config.licence)
    return Checkpoint(model, header["tokenizer"], source)


def _state(where: str, data: Any) -> State:
    data = data if isinstance(data, dict) else {}
    if "logit_scale" in data or (found := wrappers.find(where, data, {"native": MARKS})) is None:
        return State(where, data)
    return found[1]
