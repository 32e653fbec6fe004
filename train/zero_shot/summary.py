"""Zero-shot results in figures, as a table or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from clap_export.metrics import wilson
from runtime import schema
from runtime.errors import ClapError
from train.config.data import TaskConfig
from train.zero_shot.confusion import taken_for
from train.zero_shot.neighbours import Neighbour
from train.zero_shot.run import Found
from train.zero_shot.sensitivity import Sensitivity
from train.zero_shot.strangers import Strangers

SHOWN = 10  # labels in a list; --json has all


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
        taken_for: of each label's clips, the shares that were taken for others.
        nearest: the training name nearest to each label, where training names were given.
        seen, unseen: accuracy of the clips whose label is a training name, and of the others.
        prompts: accuracy by prompt, where it was asked for.
        none_of_these: how sounds that are none of the labels are told, where it was asked for.
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
    taken_for: dict[str, dict[str, float]] = field(default_factory=dict)
    nearest: dict[str, Neighbour] | None = None
    seen: Share | None = None
    unseen: Share | None = None
    prompts: Sensitivity | None = None
    none_of_these: Strangers | None = None


def summarise(task: TaskConfig, found: Found) -> TaskSummary:
    """A result in figures.

    Raises:
        ClapError: a group of the task has labels without clips.
    """
    result = found.result
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
        taken_for(result), found.neighbours, _of_known(found, True), _of_known(found, False),
        found.sensitivity, found.strangers,
    )  # fmt: skip


def _of_known(found: Found, seen: bool) -> Share | None:
    """Accuracy of the clips whose label is, or is not, a training name; None if there are none."""
    if found.neighbours is None:
        return None
    result = found.result
    of = np.array([found.neighbours[label].seen == seen for label in result.labels])[result.truth]
    return Share.of(result.right()[of]) if of.any() else None


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
        for name, share in (("trained on", r.seen), ("not trained on", r.unseen)):
            if share is not None:
                table.add_row(f"  {name}", str(share.clips), "", *_percent(share))
    console = Console()
    console.print(table)
    for r in summaries:
        for line in (*_near(r), *_prompts(r), *_strangers(r)):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def _near(r: TaskSummary) -> Iterator[str]:
    """The labels that nobody trained on, those that are nearest to training names first."""
    if r.nearest is None:
        return
    others = {label: one for label, one in r.nearest.items() if not one.seen}
    yield f"{r.name}: {len(others)} of {len(r.nearest)} labels are no training names; nearest:"
    for label, one in sorted(others.items(), key=lambda item: item[1].distance)[:SHOWN]:
        right = f", {100 * r.by_label[label]:.0f} % right" if label in r.by_label else ""
        yield f"  {label}: {one.name}, distance {one.distance:.2f}{right}"


def _prompts(r: TaskSummary) -> Iterator[str]:
    if r.prompts is None:
        return
    one = r.prompts
    yield (
        f"{r.name}: {100 * one.mean:.1f} % +- {100 * one.deviation:.1f} over {len(one.accuracy)} "
        f"prompts, from {100 * one.low:.1f} to {100 * one.high:.1f}"
    )
    for prompt, accuracy in sorted(one.accuracy.items(), key=lambda item: -item[1]):
        yield f"  {100 * accuracy:5.1f} %  {prompt}"


def _strangers(r: TaskSummary) -> Iterator[str]:
    if r.none_of_these is None:
        return
    one = r.none_of_these
    yield (
        f"{r.name}: none of these labels: AUROC {one.auroc:.3f} (from {one.low:.3f} to "
        f"{one.high:.3f} over {one.groups} groups of labels); below a score of "
        f"{one.threshold:.3f} lie 5 % of the clips that have a label and "
        f"{100 * one.refused:.0f} % of those that have none"
    )


def _percent(share: Share | TaskSummary) -> tuple[str, str]:
    """Accuracy and its interval."""
    return f"{100 * share.accuracy:.1f} %", f"{100 * share.low:.1f}-{100 * share.high:.1f}"
