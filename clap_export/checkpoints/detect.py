"""Which family a checkpoint file is of: told by its content, never by its name or size."""

from __future__ import annotations

import json
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from clap_export.checkpoints import native
from clap_export.model.checkpoint import Checkpoint
from runtime.errors import ClapError

FAMILIES = ("native",)


def load(path: str | Path) -> Checkpoint:
    """Load a checkpoint of any known family.

    Code inside a pickle is never run: files of `torch.save` are read with ``weights_only=True``.

    Raises:
        ClapError: no such file, unreadable, a pickle with code in it, or of no known family.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder, not a checkpoint file" if path.is_dir() else "does not exist"
        raise ClapError(f"checkpoint {path} {what}. Give a .safetensors or .pt file.")
    with path.open("rb") as file:
        head = file.read(16)
    header, state = _read_torch(path) if _is_pickle(head) else _read_safetensors(path)
    if native.claims(header):
        return native.build(path, header, state)
    names = ", ".join(sorted(map(str, state))[:3]) or "none"
    raise ClapError(
        f"{path} is of no family that clap-export knows ({', '.join(FAMILIES)}); its first keys "
        f"are: {names}. Save the model with clap_export.checkpoints.native.save."
    )


def _is_pickle(head: bytes) -> bool:
    """torch.save writes a zip, or in old versions a bare pickle (protocol 2 and up).

    A safetensors file starts with the header's length in 8 bytes, then the header's brace.
    """
    if head[8:9] == b"{":
        return False
    return head[:4] == b"PK\x03\x04" or (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05")


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}
        header = json.loads(metadata.get(native.METADATA_KEY, "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise ClapError(
            f"{path} is neither a safetensors file nor one of torch.save ({error}). "
            "It may be damaged: copy it again."
        ) from error
    return header, state


def _read_torch(path: Path) -> tuple[dict[str, Any], dict[Any, Any]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols that torch.save does not write
            data = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may fail in any way
        if isinstance(error, pickle.UnpicklingError):
            asked = re.search(r"GLOBAL (\S+)", str(error))
            why = f"it asks for {asked[1]}" if asked else "or it is damaged"
            raise ClapError(
                f"{path} is a pickle that holds more than plain tensors and numbers, so it could "
                f"run code when opened and was refused ({why}). Save its state dict as safetensors."
            ) from error
        reason = str(error).split("\n")[0].split(". ")[0] or type(error).__name__
        raise ClapError(
            f"{path} cannot be read ({reason}). It is damaged or no file of torch.save: copy it "
            "again, or save its state dict as safetensors."
        ) from error
    header: dict[str, Any] = data if isinstance(data, dict) else {}
    state = header.get("state_dict")
    return header, state if isinstance(state, dict) else {}
