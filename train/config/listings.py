"""The labelled clips that a TOML file names, whatever else is in it: of a run or a bridge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtime.errors import ClapError
from train.config.bounds import Checks
from train.config.data import ListingConfig, TaskConfig
from train.config.toml_file import as_config, read_toml


@dataclass(frozen=True)
class TasksConfig:
    """What a model is evaluated on.

    Attributes:
        device: ``auto`` takes CUDA where there is one.
    """

    tasks: tuple[TaskConfig, ...] = ()
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        checks = Checks(self)
        checks.once("the name of two tasks", [task.name for task in self.tasks])
        checks.done()


def tasks_of(path: Path) -> TasksConfig:
    """The tasks of a TOML file: a run's config, or a file of nothing but ``[[tasks]]``.

    Raises:
        ClapError: unreadable, or ill-formed (all problems are listed).
    """
    data = read_toml(path)
    return as_config(TasksConfig, {k: data[k] for k in ("tasks", "device") if k in data}, path)


def listings_of(path: Path, *, tasks: bool) -> list[ListingConfig]:
    """The listings of a TOML file.

    Args:
        path: the file.
        tasks: take those of its tasks, if it has any.

    Raises:
        ClapError: unreadable, ill-formed (all problems are listed), or none in it.
    """
    data = read_toml(path)
    found: object = data.get("listings") or []
    if tasks and data.get("tasks"):
        found = data["tasks"]
        if isinstance(found, list):
            found = [task.get("listing") if isinstance(task, dict) else task for task in found]
    if not found:
        whose = " It is a distillation's: labels are its teacher's, so give the recipe of that."
        raise ClapError(
            f"config {path} has no [[listings]]{' and no [[tasks]]' * tasks}."
            f"{whose * ('student' in data)}"
        )
    return list(as_config(_Listings, {"listings": found}, path).listings)


@dataclass(frozen=True)
class _Listings:
    listings: tuple[ListingConfig, ...]
