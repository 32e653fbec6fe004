"""A model repository on the disk: a folder for each model, a page, and hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from clap_export.triton import page
from clap_export.triton.config import ModelConfig
from clap_export.triton.models import VERSION, Model
from runtime.errors import ClapError
from runtime.files import publish, scratch

SUMS = "SHA256SUMS"  # not of the configurations, which are there to be changed


def check_free(out: Path) -> None:
    """Refuse an output folder before any work is done.

    Raises:
        ClapError: something is there.
    """
    if out.exists() or out.is_symlink():
        raise ClapError(f"--out {out} exists already. Remove it, or give another folder.")


def write(models: Iterable[Model], out: Path, engine: str = "") -> tuple[ModelConfig, ...]:
    """Write a repository; it gets its place when all of it is whole.

    Args:
        models: one after the other, each with its files in memory.
        out: folder to make.
        engine: what must be installed beside Triton to run the engines, or nothing.

    Returns:
        the models' configurations.

    Raises:
        ClapError: ``out`` exists, or cannot be written.
    """
    check_free(out)
    with scratch(out) as folder:
        part = folder / "repository"
        part.mkdir()
        sums: dict[str, str] = {}
        configs: list[ModelConfig] = []
        for model in models:
            name = model.config.name
            (part / name / VERSION).mkdir(parents=True)
            (part / name / "config.pbtxt").write_text(model.config.text(), encoding="utf-8")
            for path, data in model.files.items():
                place = part / name / path
                place.parent.mkdir(exist_ok=True)
                place.write_bytes(data)
                sums[f"{name}/{path}"] = hashlib.sha256(data).hexdigest()
            configs.append(model.config)
        lines = (f"{digest}  {path}\n" for path, digest in sorted(sums.items()))
        (part / SUMS).write_text("".join(lines), encoding="utf-8")
        (part / "README.md").write_text(page.text(tuple(configs), engine), encoding="utf-8")
        publish(part, out)
    return tuple(configs)
