"""Checkpoints on the tasks of a config: one, or several whose answers are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from clap_export.checkpoints import load
from runtime.errors import ClapError
from train.config.contrastive import TrainConfig
from train.machine.device import pick_device
from train.zero_shot.task import ClipStoreFactory, Task, TaskResult, together


def run_tasks(
    checkpoints: Sequence[Path], config: TrainConfig, templates: Sequence[str] = ()
) -> dict[str, TaskResult]:
    """Evaluate a checkpoint on the tasks of a config, or several together.

    Args:
        checkpoints: of several, the probabilities are averaged.
        config: whose tasks and device.
        templates: prompts in place of the models' default ones; several are averaged.

    Raises:
        ClapError: a checkpoint, or a task's files, cannot be used; or there are no tasks.
    """
    if not config.tasks:
        raise ClapError("the config has no [[tasks]]: give one that says what to evaluate on.")
    device = pick_device(config.device)
    answers: list[list[TaskResult]] = []
    scales: list[float] = []
    for path in checkpoints:
        loaded = load(path)
        model, tokenizer = loaded.model.eval().to(device), Tokenizer.from_str(loaded.tokenizer)
        factory = ClipStoreFactory(model.config.audio)
        tasks = [Task(task, factory) for task in config.tasks]
        answers.append([task.run(model, tokenizer, templates) for task in tasks])
        scales.append(model.scale().item())
    found = answers[0]
    if len(answers) > 1:
        found = [together(results, scales) for results in zip(*answers, strict=True)]
    return {task.name: result for task, result in zip(config.tasks, found, strict=True)}
