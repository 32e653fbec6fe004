"""Which family a checkpoint is of: told by its content, never by its name or size."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, get_args

from clap_export.checkpoints import laion, msclap, native, open_clip, tokenizers, transformers
from clap_export.checkpoints.state import State
from clap_export.checkpoints.transformers_config import CONFIGS
from clap_export.checkpoints.weights import INDEX, Weights, read_file
from clap_export.checkpoints.wrappers import find
from clap_export.model.checkpoint import Checkpoint
from runtime.errors import ClapError

# The one vocabulary of families: what `--family` takes is what a manifest says.
Family = Literal["native", "msclap", "laion", "transformers", "open_clip"]
FAMILIES: tuple[Family, ...] = get_args(Family)
_FOLDERS = {"transformers": transformers.build, "open_clip": open_clip.build}
_FILES = {"msclap": msclap.build, "laion": laion.build}
_MARKS = {"msclap": msclap.MARKS, "laion": laion.MARKS}


def load(
    source: str | Path, family: Family | None = None, tokenizer: str | Path | None = None
) -> Checkpoint:
    """Load a checkpoint of any known family.

    Code inside a pickle is never run: files of `torch.save` are read by a reader of ours, which
    makes tensors and plain values and nothing else.

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
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
        exists = path.exists()
    except (OSError, ValueError) as error:  # a name that no file can have
        raise ClapError(f"checkpoint {str(source)[:99]!r} is no path ({error}).") from error
    if is_file:
        return _load_file(path, family, folder)
    if exists and not is_folder:
        raise ClapError(f"checkpoint {path} is neither a file nor a folder.")
    if family not in (None, *_FOLDERS):
        raise ClapError(f"checkpoint {path} is no file; --family {family} reads files.")
    if is_folder:
        return _load_folder(path, family, folder)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", str(source)) and not path.parent.exists():
        return _load_folder(download(str(source), "--ckpt"), family, folder, str(source))
    raise ClapError(f"checkpoint {path} does not exist. Give a file, a model's folder or a hub id.")


def _load_folder(
    folder: Path, family: Family | None, tokenizer: Path | None, name: str | None = None
) -> Checkpoint:
    """The config's file name is part of either library's format."""
    found = family or ("open_clip" if (folder / open_clip.CONFIG).is_file() else "transformers")
    return _FOLDERS[found](folder, tokenizer, name)


def hub_files() -> list[str]:
    """What is asked of the hub: everything that a loader of a folder looks at."""
    weights = (*transformers.WEIGHTS, *open_clip.WEIGHTS)
    shards = [f"{Path(name).stem}-*-of-*{Path(name).suffix}" for name in weights]
    indices = [f"{name}{INDEX}" for name in weights]
    configs = [*CONFIGS, open_clip.CONFIG]
    return [*configs, *weights, *indices, *shards, *tokenizers.FILES]


def download(hub_id: str, asked: str) -> Path:
    """The folder of a model of the Hugging Face hub, in that library's cache.

    Args:
        hub_id: of the model.
        asked: the option that named it, for the message.

    Raises:
        ClapError: no such model, or the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=hub_files()))
    except Exception as error:  # many kinds: offline, absent, gated, bad name
        reason = (str(error).strip().split("\n")[0] or type(error).__name__).rstrip(".")
        raise ClapError(
            f"{asked} {hub_id} is no file or folder here, and could not be had from the Hugging "
            f"Face hub ({reason}). Check the name, or download it where there is a network."
        ) from error


def _load_file(path: Path, family: Family | None, tokenizer: Path | None) -> Checkpoint:
    if family in _FOLDERS:
        raise ClapError(f"{path} is a file: for --family {family} give the folder it is in.")
    weights = read_file(path)
    if family == "native" or (family is None and native.claims(native.header_of(weights))):
        if tokenizer is not None:
            raise ClapError(f"{path} brings its own tokenizer: leave --tokenizer out.")
        return native.build(weights)
    marks = _MARKS if family is None else {family: _MARKS[family]}
    found = find(weights.where, weights.data, marks)
    if found is not None:
        return _FILES[found[0]](found[1], weights.origin, tokenizer)
    if family is not None:  # its builder says what is missing
        return _FILES[family](State.of(weights.where, weights.data), weights.origin, tokenizer)
    raise ClapError(_of_no_family(weights))


def _of_no_family(weights: Weights) -> str:
    data = weights.data
    names = ", ".join(sorted(str(key)[:80] for key in data)[:3]) if isinstance(data, dict) else ""
    folders = {"transformers": transformers.MARKS, "open_clip": open_clip.MARKS}
    inside = find(weights.where, data, folders)
    if inside is not None:
        return (
            f"{weights.where} holds the weights of a {inside[0]} model, which does not say how it "
            "was made: give the folder that it is in, with the config beside it."
        )
    return (
        f"{weights.where} is of no family that clap-export knows ({', '.join(FAMILIES)}); its "
        f"first keys are: {names or 'none'}. Save the model with "
        "clap_export.checkpoints.native.save."
    )
