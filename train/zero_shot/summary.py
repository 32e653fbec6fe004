"""Zero-shot scores of a checkpoint, or of several together, as a table or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

from clap_export.checkpoints import load
from clap_export.metrics import wilson
from runtime import schema
from runtime.errors import ClapError
from train.config.contrastive import TrainConfig
from train.config.data import TaskConfig
from train.machine.device import pick_device
from train.zero_shot.task import ClipStoreFactory, Result, Task, together


@dataclass(frozen=True)
class Share:
    """Accuracy on some clips, with Wilson's 95 % interval (Wilson 1927)."""

    clips: int
    accuracy: float
    low: float
    high: float

    @classmethod
    def of(cls, right: np.ndarray) -> Share:
        """Of ``[clips]`` bool."""
        accuracy = float(right.mean())
        return cls(len(right), accuracy, *wilson(accuracy, len(right)))


@dataclass(frozen=True)
class TaskReport:
    """Accuracy of one task with its interval, of each label that has clips, of groups of labels.

    Attributes:
        mean_of_labels: mean of ``by_label``: every label counts alike, however many clips it has.
    """

    name: str
    clips: int
    candidates: int
    accuracy: float
    low: float
    high: float
    mean_of_labels: float
    by_label: dict[str, float]
    groups: dict[str, Share]


def run_tasks(
    checkpoints: Sequence[Path], config: TrainConfig, templates: Sequence[str] = ()
) -> dict[str, Result]:
    """Evaluate a checkpoint on the tasks of a config, or several together.

    Args:
        checkpoints: of several, the probabilities are averaged.
        templates: prompts in place of the models' default ones; several are averaged.

    Raises:
        ClapError: a checkpoint, or a task's files, cannot be used.
    """
    device = pick_device(config.device)
    answers: list[list[Result]] = []
    scales: list[float] = []
    for path in checkpoints:
        loaded = load(path)
        model, tokenizer = loaded.model.to(device), Tokenizer.from_str(loaded.tokenizer)
        factory = ClipStoreFactory(model.config.audio)
        tasks = [Task(task, factory) for task in config.tasks]
        with torch.inference_mode():
            answers.append([task.run(model, tokenizer, device, templates) for task in tasks])
            scales.append(float(model.scale()))
    found = answers[0]
    if len(answers) > 1:
        found = [together(results, scales) for results in zip(*answers, strict=True)]
    return {task.name: result for task, result in zip(config.tasks, found, strict=True)}


def summarise(task: TaskConfig, result: Result) -> TaskReport:
    """A result in figures.

    Raises:
        ClapError: a group of the task has labels without clips.
    """
    by_label, right = result.by_label(), result.right()
    whole = Share.of(right)
    grouped = {label for group in task.groups.values() for label in group}
    if absent := sorted(grouped - set(by_label)):
        raise ClapError(f"task {task.name}: no clips of the groups' {', '.join(absent)}.")
    return TaskReport(
        task.name, whole.clips, len(result.labels), whole.accuracy, whole.low, whole.high,
        sum(by_label.values()) / len(by_label), by_label,
        {
            name: Share.of(right[np.isin(result.truth, [result.labels.index(x) for x in labels])])
            for name, labels in task.groups.items()
        },
    )  # fmt: skip


def show(reports: list[TaskReport], as_json: bool) -> None:
    """Print reports."""
    if as_json:
        click.echo(json.dumps(schema.to_plain(reports), indent=2))
        return
    table = Table(title="zero-shot accuracy")
    headings = ("task", "clips", "labels", "accuracy", "95 % interval", "mean of labels")
    for heading in (*headings, "weakest labels"):
        first = heading == "task"
        table.add_column(heading, justify="left" if first else "right", no_wrap=first)
    for r in reports:
        weakest = sorted(r.by_label.items(), key=lambda item: item[1])[:2]
        table.add_row(
            r.name, str(r.clips), str(r.candidates), *_percent(r),
            f"{100 * r.mean_of_labels:.1f} %",
            ", ".join(f"{label} {100 * value:.0f} %" for label, value in weakest),
        )  # fmt: skip
        for name, group in r.groups.items():
            table.add_row(f"  {name}", str(group.clips), "", *_percent(group))
    Console().print(table)


def _percent(share: Share | TaskReport) -> tuple[str, str]:
    """Accuracy and its interval."""
    return f"{100 * share.accuracy:.1f} %", f"{100 * share.low:.1f}-{100 * share.high:.1f}"
