"""Checkpoints on the tasks of a config: one, or several whose answers are averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tokenizers import Tokenizer

from clap_export.checkpoints import load
from runtime.errors import ClapError
from train.config.contrastive import TrainConfig
from train.config.listings import TasksConfig
from train.machine.device import pick_device
from train.zero_shot.neighbours import Neighbour, nearest
from train.zero_shot.sensitivity import Sensitivity, sensitivity
from train.zero_shot.strangers import Strangers, strangers
from train.zero_shot.task import ClipStoreFactory, Task, TaskResult, together


@dataclass(frozen=True)
class Asked:
    """What of a checkpoint, or of several together, is to be found out.

    Attributes:
        checkpoints: of several, the probabilities are averaged.
        templates: prompts in place of the models' default ones; several are averaged.
        trained_on: names that the model was trained on, to compare the labels with.
        each_prompt: also score each prompt alone.
        none_of_these: also find out whether sounds that are none of the labels are told.

    Raises:
        ClapError: several checkpoints where one is looked at.
    """

    checkpoints: Sequence[Path]
    templates: Sequence[str] = ()
    trained_on: Sequence[str] = ()
    each_prompt: bool = False
    none_of_these: bool = False

    def __post_init__(self) -> None:
        several = len(self.checkpoints) > 1
        if several and (self.trained_on or self.each_prompt or self.none_of_these):
            raise ClapError(
                "--leave-out, --each-prompt and --none-of-these look at one model: leave --with "
                "out."
            )


@dataclass(frozen=True)
class Found:
    """A task's result, and what was asked for beside it.

    Attributes:
        neighbours: the training name nearest to each label.
        sensitivity: to the prompt.
        strangers: sounds that are none of the labels.
    """

    result: TaskResult
    neighbours: dict[str, Neighbour] | None = None
    sensitivity: Sensitivity | None = None
    strangers: Strangers | None = None


def evaluate(asked: Asked, config: TrainConfig | TasksConfig) -> dict[str, Found]:
    """Evaluate on every task of a config, whose device is used.

    Raises:
        ClapError: a checkpoint, or a task's files, cannot be used; or there are no tasks.
    """
    if not config.tasks:
        raise ClapError("the config has no [[tasks]]: give one that says what to evaluate on.")
    device = pick_device(config.device)
    answers: list[list[TaskResult]] = []
    scales: list[float] = []
    beside: list[Found] = []
    for path in asked.checkpoints:
        loaded = load(path)
        model, tokenizer = loaded.model.eval().to(device), Tokenizer.from_str(loaded.tokenizer)
        factory = ClipStoreFactory(model.config.audio)
        tasks = [Task(task, factory) for task in config.tasks]
        answers.append([])
        scales.append(model.scale().item())
        for task in tasks:
            audio = task.hear(model)
            result = task.score(audio, model, tokenizer, asked.templates)
            answers[-1].append(result)
            near = None
            if asked.trained_on:
                near = nearest(result.labels, asked.trained_on, model, tokenizer)
            spread = None
            if asked.each_prompt:
                spread = sensitivity(task, audio, model, tokenizer, asked.templates)
            beside.append(Found(result, near, spread))
    if len(answers) > 1:
        beside = [Found(together(results, scales)) for results in zip(*answers, strict=True)]
    if asked.none_of_these:
        names = [task.name for task in config.tasks]
        beside = [
            replace(one, strangers=strangers(one.result, name))
            for name, one in zip(names, beside, strict=True)
        ]
    return {task.name: one for task, one in zip(config.tasks, beside, strict=True)}


def run_tasks(
    checkpoints: Sequence[Path], config: TrainConfig | TasksConfig, templates: Sequence[str] = ()
) -> dict[str, TaskResult]:
    """The results alone; see :func:`evaluate`.

    Raises:
        ClapError: as there.
    """
    found = evaluate(Asked(checkpoints, templates), config)
    return {name: one.result for name, one in found.items()}
