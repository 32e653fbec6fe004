"""Zero-shot results in figures, as a table or JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from clap_export.metrics import wilson
from runtime import schema
from runtime.errors import ClapError
from train.config.data import TaskConfig
from train.zero_shot.task import TaskResult


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
class TaskSummary:
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


def summarise(task: TaskConfig, result: TaskResult) -> TaskSummary:
    """A result in figures.

    Raises:
        ClapError: a group of the task has labels without clips.
    """
    by_label, right = result.by_label(), result.right()
    whole = Share.of(right)
    grouped = {label for group in task.groups.values() for label in group}
    if absent := sorted(grouped - set(by_label)):
        raise ClapError(f"task {task.name}: no clips of the groups' {', '.join(absent)}.")
    return TaskSummary(
        task.name, whole.clips, len(result.labels), whole.accuracy, whole.low, whole.high,
        sum(by_label.values()) / len(by_label), by_label,
        {
            name: Share.of(right[np.isin(result.truth, [result.labels.index(x) for x in labels])])
            for name, labels in task.groups.items()
        },
    )  # fmt: skip


def show(summaries: list[TaskSummary], as_json: bool) -> None:
    """Print them."""
    if as_json:
        click.echo(json.dumps(schema.to_plain(summaries), indent=2))
        return
    table = Table(title="zero-shot accuracy")
    headings = ("task", "clips", "labels", "accuracy", "95 % interval", "mean of labels")
    for heading in (*headings, "weakest labels"):
        first = heading == "task"
        table.add_column(heading, justify="left" if first else "right", no_wrap=first)
    for r in summaries:
        weakest = sorted(r.by_label.items(), key=lambda item: item[1])[:2]
        table.add_row(
            r.name, str(r.clips), str(r.candidates), *_percent(r),
            f"{100 * r.mean_of_labels:.1f} %",
            ", ".join(f"{label} {100 * value:.0f} %" for label, value in weakest),
        )  # fmt: skip
        for name, group in r.groups.items():
            table.add_row(f"  {name}", str(group.clips), "", *_percent(group))
    Console().print(table)


def _percent(share: Share | TaskSummary) -> tuple[str, str]:
    """Accuracy and its interval."""
    return f"{100 * share.accuracy:.1f} %", f"{100 * share.low:.1f}-{100 * share.high:.1f}"
