"""Checkpoints that are folders: their JSON and their weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from clap_export.checkpoints import torchfile
from runtime.errors import ClapError


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ClapError: it cannot be read.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ClapError(
            f"{path} cannot be read ({error}). A checkpoint folder holds a config and weights; "
            "the README names the files of each family."
        ) from error
    return data if isinstance(data, dict) else {}


def read_weights(folder: Path, names: tuple[str, ...]) -> tuple[Path, Any]:
    """The first file of these names that is there, and its content.

    Raises:
        ClapError: none is there, or it is unreadable.
    """
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise ClapError(f"{folder} holds no {' or '.join(names)}, so no weights.")
    return path, load_file(path) if path.suffix == ".safetensors" else torchfile.read(path)
