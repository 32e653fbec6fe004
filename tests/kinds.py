"""Which reader a recipe is for, by what stands in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from train.config.toml_file import read_toml


def kind_of(recipe: Path) -> str:
    """``distil``, ``tasks``, ``run`` or ``bridge``, with all that it builds on."""
    whole: dict[str, Any] = read_toml(recipe)
    if "student" in whole:
        return "distil"
    if whole.keys() <= {"tasks"}:
        return "tasks"
    return "run" if "tasks" in whole else "bridge"
