"""The project's own checkpoint: weights, config and tokenizer in one file.

``.safetensors``: the tensors of the state dict; in the metadata one key, ``clap_export``, a JSON
object of ``format``, ``version``, ``config`` and ``tokenizer`` (a tokenizers JSON as a string).
``.pt``: the same object with ``state_dict`` added, saved by `torch.save` and read with
``weights_only=True``. The content decides which one a file is, not its name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from clap_export.checkpoints.state import fit
from clap_export.model.checkpoint import Checkpoint
from clap_export.model.clap import ClapModel
from clap_export.model.config import ClapConfig
from runtime.bundle import Source, sha256_file
from runtime.errors import ClapError

FORMAT = "clap-export-checkpoint"
VERSION = 1
METADATA_KEY = "clap_export"


def save(path: Path, model: ClapModel, tokenizer: str) -> None:
    """Write a checkpoint; ``.pt`` by `torch.save`, anything else as safetensors.

    Written beside its place and renamed, so that a reader sees all of it or nothing.
    """
    header: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "config": model.config.to_dict(),
        "tokenizer": tokenizer,
    }
    state = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    part = path.with_name(f"{path.name}.part")
    try:
        if path.suffix == ".pt":
            torch.save({**header, "state_dict": state}, part)
        else:
            save_file(state, part, metadata={METADATA_KEY: json.dumps(header)})
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def claims(header: object) -> bool:
    """Whether a file's metadata or top-level object is of this family."""
    return isinstance(header, dict) and header.get("format") == FORMAT


def build(path: Path, header: dict[str, Any], state: dict[Any, Any]) -> Checkpoint:
    """Make the model from a checkpoint's parts.

    Raises:
        ClapError: another version, a config that does not fit, no usable tokenizer, or tensors
            missing, unexpected, of other shapes or not finite (all are listed).
    """
    if header.get("version") != VERSION:
        raise ClapError(
            f"{path} is a checkpoint of version {header.get('version')!r}; this clap-export reads "
            f"{VERSION}. Save it again with the version that wrote it, or upgrade."
        )
    missing = [key for key in ("config", "tokenizer") if key not in header]
    unknown = sorted(set(header) - {"format", "version", "config", "tokenizer", "state_dict"})
    if missing or unknown:
        raise ClapError(f"{path}: header keys missing: {missing}; unknown: {unknown}.")
    _check_tokenizer(path, header["tokenizer"])
    model = ClapModel(ClapConfig.from_dict(header["config"], f"{path} (config)"))
    fit(str(path), model, state)
    source = Source("native", path.name, sha256_file(path), model.config.licence)
    return Checkpoint(model.eval(), header["tokenizer"], source)


def _check_tokenizer(path: Path, tokenizer: object) -> None:
    try:
        if not isinstance(tokenizer, str):
            raise TypeError(f"it is a {type(tokenizer).__name__}, not a text")
        Tokenizer.from_str(tokenizer)
    except Exception as error:  # the library raises plain Exception
        raise ClapError(f"{path}: the tokenizer is not a tokenizers JSON ({error}).") from error
