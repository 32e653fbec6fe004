"""Which family a checkpoint is of: told by its content, never by its name or size."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal, get_args

from safetensors import SafetensorError, safe_open
from torch import Tensor

from clap_export.checkpoints import laion, msclap, native, torchfile
from clap_export.checkpoints import open_clip as openclip
from clap_export.checkpoints import transformers as huggingface
from clap_export.model.checkpoint import Checkpoint
from runtime.errors import ClapError

Family = Literal["native", "msclap", "laion", "transformers", "open_clip"]
FAMILIES: tuple[Family, ...] = get_args(Family)
_FOLDERS = {"transformers": huggingface.build, "open_clip": openclip.build}


def load(
    source: str | Path, family: Family | None = None, tokenizer: str | Path | None = None
) -> Checkpoint:
    """Load a checkpoint of any known family.

    Code inside a pickle is never run: files of `torch.save` are read with ``weights_only=True``.

    Args:
        source: a file; a folder of transformers or open_clip; or the id of such a model on the
            Hugging Face hub.
        family: to read it as, instead of the one that its content tells.
        tokenizer: folder of the text tower's tokenizer, for families whose files bring none.

    Raises:
        ClapError: no such thing, unreadable, a pickle with code in it, of no known family, or
            anything in it that does not fit its family.
    """
    path = Path(source)
    folder = None if tokenizer is None else Path(tokenizer)
    if path.is_file():
        return _load_file(path, family, folder)
    if family not in (None, *_FOLDERS):
        raise ClapError(f"checkpoint {path} is no file; --family {family} reads files.")
    if path.is_dir():
        return _load_folder(path, family, folder)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", str(source)) and not path.parent.exists():
        return _load_folder(_download(str(source)), family, folder, str(source))
    raise ClapError(f"checkpoint {path} does not exist. Give a file, a model's folder or a hub id.")


def _load_folder(
    folder: Path, family: Family | None, tokenizer: Path | None, name: str | None = None
) -> Checkpoint:
    """The config's file name is part of either library's format."""
    found = family or ("open_clip" if (folder / openclip.CONFIG).is_file() else "transformers")
    return _FOLDERS[found](folder, tokenizer, name)


def _download(hub_id: str) -> Path:
    """The folder of a model of the Hugging Face hub, in that library's cache.

    Raises:
        ClapError: no such model, or the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download

    wanted = [
        *huggingface.FILES, *huggingface.WEIGHTS, openclip.CONFIG, *openclip.WEIGHTS,
        "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt",
    ]  # fmt: skip
    try:
        return Path(snapshot_download(hub_id, allow_patterns=wanted))
    except Exception as error:  # many kinds: offline, absent, gated, bad name
        reason = (str(error).strip().split("\n")[0] or type(error).__name__).rstrip(".")
        raise ClapError(
            f"--ckpt {hub_id} is no file or folder here, and as a model of the Hugging Face hub it "
            f"could not be had ({reason}). Check the name, or download it where there is a network."
        ) from error


def _load_file(path: Path, family: Family | None, tokenizer: Path | None) -> Checkpoint:
    with path.open("rb") as file:
        is_torch = torchfile.is_torch_file(file.read(16))
    header, data = _read_torch(path) if is_torch else _read_safetensors(path)
    found = family or _family_of(header, data)
    if found == "native":
        if tokenizer is not None:
            raise ClapError(f"{path} brings its own tokenizer: leave --tokenizer out.")
        return native.build(path, header, header.get("state_dict", data))
    if found == "msclap":
        return msclap.build(path, data, tokenizer)
    if found == "laion":
        return laion.build(path, data, tokenizer)
    if found in _FOLDERS:
        raise ClapError(f"{path} is a file: for --family {found} give the folder it is in.")
    names = ", ".join(sorted(map(str, data))[:3]) or "none"
    raise ClapError(
        f"{path} is of no family that clap-export knows ({', '.join(FAMILIES)}); its first keys "
        f"are: {names}. Save the model with clap_export.checkpoints.native.save."
    )


def _family_of(header: dict[str, Any], data: dict[Any, Any]) -> Family | None:
    if native.claims(header):
        return "native"
    if msclap.claims(data):
        return "msclap"
    return "laion" if laion.claims(data) else None


def _read_torch(path: Path) -> tuple[dict[str, Any], dict[Any, Any]]:
    data = torchfile.read(path)
    data = data if isinstance(data, dict) else {}
    return data, data


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
    return header if isinstance(header, dict) else {}, state
