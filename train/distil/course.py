"""Epochs of one tower's distillation; the same for audio and text."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from runtime.errors import ClapError
from train.machine.moving_average import MovingAverage
from train.machine.progress import track
from train.machine.random_streams import seed_torch
from train.schedule import cosine_factor


class Pace(Protocol):
    """How long and how fast a tower learns; tables of the configs hold it."""

    @property
    def epochs(self) -> int:
        """Times that everything is gone through."""
        ...

    @property
    def batch_size(self) -> int:
        """Items in a step."""
        ...

    @property
    def learning_rate(self) -> float:
        """Its peak."""
        ...


class TowerLesson(Protocol):
    """What one tower learns.

    Attributes:
        name: ``audio`` or ``text``.
        steps: batches in an epoch.
    """

    name: str
    steps: int

    def modules(self) -> list[nn.Module]:
        """The parts of the student that learn."""
        ...

    def losses(self, epoch: int) -> Iterator[Tensor]:
        """The loss of each batch of an epoch, computed when it is asked for."""
        ...

    def held_out(self) -> float:
        """Mean cosine to the teacher on what is not learned from; the student in ``eval()``."""
        ...


@dataclass(frozen=True)
class Record:
    """One epoch: its number from 1, mean loss, held-out mean cosine, and the time it took."""

    tower: str
    epoch: int
    loss: float
    cosine: float
    seconds: float


class Course:
    """A lesson with its optimiser: AdamW, a twentieth of warm-up, then half a cosine.

    Each epoch seeds torch anew, and lessons draw from generators of their own, so that a run
    resumed after any epoch goes on with the same numbers.

    Args:
        lesson: what is learned.
        pace: in how many epochs, and at which rate.
        seed: of the run.
        ema: share of the weights' moving average that a step leaves; 0 for no average.

    Attributes:
        average: of the lesson's modules, if there is to be one: what is heard by on sounds and
            texts that are held out, and what a finished course leaves.
    """

    def __init__(self, lesson: TowerLesson, pace: Pace, seed: int, ema: float = 0.0) -> None:
        self.lesson, self.epochs, self.seed = lesson, pace.epochs, seed
        self._peak = pace.learning_rate
        self._parameters = [p for module in lesson.modules() for p in module.parameters()]
        self.optimiser = torch.optim.AdamW(
            self._parameters, lr=self._peak, weight_decay=0.01, fused=True
        )
        self._modules = nn.ModuleList(lesson.modules())
        self.average = MovingAverage(self._modules, ema) if ema > 0 else None

    def run(self, epoch: int) -> Record:
        """Learn for one epoch (counted from 0).

        Raises:
            ClapError: the loss is no number any more.
        """
        began, lesson = time.monotonic(), self.lesson
        seed_torch(self.seed, lesson.name, epoch)
        for module in lesson.modules():
            module.train()
        total, step, losses = self.epochs * lesson.steps, epoch * lesson.steps, list[Tensor]()
        title = f"{lesson.name} epoch {epoch + 1}/{self.epochs}"
        for loss in track(lesson.losses(epoch), title, total=lesson.steps):
            for group in self.optimiser.param_groups:
                group["lr"] = self._peak * cosine_factor(step, total, total // 20)
            self.optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self._parameters, 1.0)
            self.optimiser.step()
            if self.average is not None:
                self.average.update_parameters(self._modules)
            losses.append(loss.detach())
            step += 1
        mean = torch.stack(losses).double().mean().item()
        if not math.isfinite(mean):
            raise ClapError(
                f"the loss became {mean} in {lesson.name} epoch {epoch + 1}; the state of the last "
                f"epoch is kept. Lower the {lesson.name} lesson's learning_rate, or turn amp off."
            )
        for module in lesson.modules():
            module.eval()
        if self.average is not None and epoch + 1 == self.epochs:
            self._modules.load_state_dict(self.average.module.state_dict())
        with self.averaged():
            cosine = lesson.held_out()
        return Record(lesson.name, epoch + 1, mean, cosine, time.monotonic() - began)

    def state(self) -> dict[str, Any]:
        """What the next epoch goes on from, of tensors and plain values."""
        average = None if self.average is None else self.average.state_dict()
        parts, steps = self._modules.state_dict(), self.optimiser.state_dict()
        return {"modules": parts, "optimiser": steps, "average": average}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`; what torch raises for another one is not caught."""
        self._modules.load_state_dict(state["modules"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The student has the averaged weights, if there are such, and then its own again."""
        if self.average is None:
            yield
            return
        own = {name: value.clone() for name, value in self._modules.state_dict().items()}
        self._modules.load_state_dict(self.average.module.state_dict())
        try:
            yield
        finally:
            self._modules.load_state_dict(own)
