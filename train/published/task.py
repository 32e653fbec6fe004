"""What a benchmark is: its prompt, metric, split, layout and published numbers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtime.errors import ClapError
from train.published.dataset import Dataset
from train.published.layout import Layout

# Section 3.3 of the paper.
SOUND = "This is a sound of {}"
EMOTION = "this person is feeling {}"
KEYWORD = "{}"
SPEAKERS = "{} persons speaking"

PAPER = "Elizalde et al. 2022 (arXiv 2206.04769), table 1"

Metric = Literal["accuracy", "mAP", "F1"]
Setup = Literal["zero-shot", "linear", "mlp", "finetune"]


@dataclass(frozen=True)
class Paper:
    """The paper's CLAP: zero-shot, frozen with a head, and fine-tuned; None where it gives none."""

    zero_shot: float
    frozen: float | None
    finetuned: float | None

    def of(self, setup: Setup) -> float | None:
        """The number to compare a set-up with; the paper's best head is that of both probes."""
        if setup == "zero-shot":
            return self.zero_shot
        return self.finetuned if setup == "finetune" else self.frozen


@dataclass(frozen=True)
class PublishedTask:
    """A classification benchmark.

    Attributes:
        name: on the command line.
        folder: of the data set below ``--data``, as the download unpacks it.
        also: other names that it has: of other distributions, or of libraries that fetch it.
        download: what to get, for messages.
        template: the paper's prompt.
        clips: recordings that the paper's zero-shot number is of.
        read: the dataset of a layout; with the training split when the flag is set.
        partial: recordings may be absent (see :class:`Layout`).
    """

    name: str
    title: str
    domain: str
    folder: str
    download: str
    template: str
    metric: Metric
    clips: int
    paper: Paper
    read: Callable[[Layout, bool], Dataset]
    partial: bool = False
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Captioned:
    """Recordings with their captions.

    Attributes:
        captions: of each recording, at least one.
        absent: recordings that are listed and not there.
    """

    paths: tuple[Path, ...]
    captions: tuple[tuple[str, ...], ...]
    absent: int


@dataclass(frozen=True)
class RetrievalTask:
    """A published retrieval task; attributes as of :class:`PublishedTask`. The paper has none."""

    name: str
    title: str
    folder: str
    download: str
    clips: int
    read: Callable[[Layout], Captioned]
    partial: bool = False
    also: tuple[str, ...] = ()


def choose(
    asked: str, catalogue: Sequence[PublishedTask | RetrievalTask], data: Path
) -> list[tuple[PublishedTask | RetrievalTask, Path]]:
    """Benchmarks by name, each with the folder of its data set.

    One data set may be ``data`` itself; otherwise each has its folder below. ``all`` takes those
    whose folder is there.

    Args:
        asked: names with commas between them, or ``all``.
        catalogue: to choose from.
        data: what ``--data`` says.

    Raises:
        ClapError: an unknown name, or folders that are not there.
    """
    names = [name.strip() for name in asked.split(",") if name.strip()]
    known = {task.name: task for task in catalogue}
    other = [name for name in names if name not in known and names != ["all"]]
    if other or not names:
        raise ClapError(
            f"--task {asked!r} names no benchmark ({', '.join(other) or 'it is empty'}): choose "
            f"from all, {', '.join(known)}."
        )
    if not os.path.isdir(data):
        raise ClapError(f"--data {data} is no folder: give the one that holds the data sets.")
    if names == ["all"]:
        found = [(task, there) for task in catalogue if (there := _there(task, data)) is not None]
        if not found:
            folders = ", ".join(dict.fromkeys(task.folder for task in catalogue))
            raise ClapError(f"--data {data} holds no data set: it may hold the folders {folders}.")
        return found
    chosen = [known[name] for name in dict.fromkeys(names)]
    absent = [task for task in chosen if _there(task, data) is None]
    if len(chosen) == 1 and absent:
        return [(chosen[0], data)]
    if absent:
        raise ClapError(
            f"--data {data} has no folder {', '.join(task.folder for task in absent)} for "
            f"{', '.join(task.name for task in absent)}: several data sets are read from folders "
            "below it."
        )
    return [(task, _there(task, data) or data / task.folder) for task in chosen]


def _there(task: PublishedTask | RetrievalTask, data: Path) -> Path | None:
    """The data set's folder, by the first of its names that is there."""
    named = (data / name for name in (task.folder, *task.also))
    return next((folder for folder in named if os.path.isdir(folder)), None)
