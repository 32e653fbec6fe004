"""What a run goes on from, on disk: a file of `torch.save` that is whole or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from runtime.errors import ClapError
from runtime.files import writing


def write(path: Path, content: dict[str, Any]) -> None:
    """Replace the file.

    Raises:
        ClapError: no space, or no right to write; the file that was there is still there.
    """
    with writing(path) as part, part.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # PyTorch hides what the file said, such as "no space"
            if isinstance(said := error.__context__, OSError):
                raise OSError(*said.args) from error
            raise


def read(path: Path, device: torch.device) -> dict[str, Any] | None:
    """What :func:`write` wrote, tensors, numbers and texts only; None if there is no file.

    Raises:
        ClapError: damaged, or something else.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged file raises anything, out of zipfile, pickle and torch
        raise ClapError(
            f"{path} cannot be read, so the run cannot go on: remove it to begin anew."
        ) from error
    return state if isinstance(state, dict) else {}
