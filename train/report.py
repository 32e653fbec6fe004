"""Zero-shot scores of a checkpoint as a table or JSON."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

from clap_export.checkpoints import load
from runtime import schema
from train.config import TrainConfig
from train.evaluate import ClipStoreFactory, Result, Task
from train.run import pick_device


@dataclass(frozen=True)
class TaskReport:
    """Accuracy of one task, with its 95 % interval, and of each label that has clips."""

    name: str
    clips: int
    candidates: int
    accuracy: float
    low: float
    high: float
    by_label: dict[str, float]


def run_tasks(checkpoint: Path, config: TrainConfig) -> dict[str, Result]:
    """Evaluate a checkpoint on the tasks of a config.

    Raises:
        ClapError: the checkpoint, or a task's files, cannot be used.
    """
    device = pick_device(config.device)
    loaded = load(checkpoint)
    model, tokenizer = loaded.model.to(device), Tokenizer.from_str(loaded.tokenizer)
    factory = ClipStoreFactory(model.config.audio)
    with torch.inference_mode():
        tasks = [Task(task, factory) for task in config.tasks]
        return {task.name: task.run(model, tokenizer, device) for task in tasks}


def summarise(name: str, result: Result) -> TaskReport:
    """Accuracy with Wilson's 95 % interval (Wilson 1927)."""
    n, p, z = len(result.truth), result.accuracy, 1.96
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return TaskReport(
        name, n, len(result.labels), p, centre - half, centre + half, result.by_label()
    )


def show(reports: list[TaskReport], as_json: bool) -> None:
    """Print reports."""
    if as_json:
        click.echo(json.dumps(schema.to_plain(reports), indent=2))
        return
    table = Table(title="zero-shot accuracy")
    for heading in ("task", "clips", "labels", "accuracy", "95 % interval", "weakest labels"):
        table.add_column(heading, justify="left" if heading in ("task",) else "right")
    for r in reports:
        weakest = sorted(r.by_label.items(), key=lambda item: item[1])[:4]
        table.add_row(
            r.name, str(r.clips), str(r.candidates), f"{100 * r.accuracy:.1f} %",
            f"{100 * r.low:.1f}-{100 * r.high:.1f}",
            ", ".join(f"{label} {100 * value:.0f} %" for label, value in weakest),
        )  # fmt: skip
    Console().print(table)
