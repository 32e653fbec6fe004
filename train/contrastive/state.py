"""Everything that a run needs to go on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim.swa_utils import AveragedModel

from clap_export.model.clap import LOGIT_SCALE_MAX, ClapModel
from runtime.errors import ClapError
from train.config.contrastive import LoopConfig
from train.contrastive import optimiser
from train.contrastive.gain import Gain
from train.losses import SIGMOID_BIAS
from train.machine import state_file
from train.machine.moving_average import MovingAverage
from train.schedule import Plateau, cosine_factor, warmup_factor
from train.tagger import Lesson

LAST = "last.pt"
VERSION = 3


@dataclass
class Partial:
    """Steps of an epoch that is not over, for a run that saves within epochs.

    Attributes:
        steps: that are done.
        losses: of each of them, this process' share.
        states: of the texts in the text tower as they were when the epoch began, if it learns.
    """

    steps: int = 0
    losses: list[Tensor] = field(default_factory=list)
    states: Tensor | None = None


class RunState:
    """The model with what trains it.

    Attributes:
        bias: of the sigmoid loss; unused by the other.
        lesson: heads that learn beside the model and end with the run; None for none.
        average: moving average of the weights and of BatchNorm's statistics, if there is to be one.
        scaler: of the loss, for float16.
        epoch: epochs that are done.
        records: one for each of them.
        gain: of the validated figure that chooses ``best.safetensors``.
        partial: what is done of the epoch after them.
        logged: bytes of the file of steps, of steps that are done.
    """

    def __init__(
        self, model: ClapModel, loop: LoopConfig, device: torch.device,
        lesson: Lesson | None = None,
    ) -> None:  # fmt: skip
        self.model, self.loop, self.lesson = model, loop, lesson
        self.bias = nn.Parameter(torch.tensor(SIGMOID_BIAS, device=device))
        others = [self.bias] if loop.loss == "sigmoid" else []
        if lesson is not None:
            others.extend(lesson.parameters())
        self.optimiser = optimiser.build(model, others, loop)
        self.average: AveragedModel | None = None
        if loop.ema > 0:
            self.average = MovingAverage(model, loop.ema)
        self.plateau = Plateau(
            loop.plateau_factor, loop.plateau_patience, rising=loop.plateau_on == "task"
        )
        self.scaler = GradScaler(device.type, enabled=loop.amp == "fp16")
        self.epoch = 0
        self.records: list[dict[str, Any]] = []
        self.gain = Gain(loop.best_by)
        self.partial = Partial()
        self.logged = 0

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All that the optimiser moves."""
        return [p for group in self.optimiser.param_groups for p in group["params"]]

    @property
    def validated(self) -> ClapModel:
        """What is validated and saved, in evaluation mode: the average, if there is one."""
        chosen = self.model if self.average is None else self.average.module
        assert isinstance(chosen, ClapModel)
        return chosen.eval()

    def rate_factor(self, step: int) -> float:
        """On the peak rates, at a step counted from the start of the run."""
        loop = self.loop
        warmup = int(loop.warmup_epochs * loop.steps_per_epoch)
        if loop.schedule == "cosine":
            return cosine_factor(step, loop.epochs * loop.steps_per_epoch, warmup)
        return warmup_factor(step, warmup) * self.plateau.factor

    def update(self) -> Tensor:
        """Move the weights along their gradients, and the average after them.

        Returns:
            The norm of all gradients together, before they were clipped.
        """
        self.scaler.unscale_(self.optimiser)
        moved = [p for p in self.parameters if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in moved if p.grad is not None])
        if self.loop.clip_norm > 0:
            nn.utils.clip_grads_with_norm_(moved, self.loop.clip_norm, norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        with torch.no_grad():
            # Past its limit it would get no gradient that could bring it back.
            self.model.logit_scale.clamp_(max=LOGIT_SCALE_MAX)
        if self.average is not None:
            self.average.update_parameters(self.model)
        return norm

    def save(self, folder: Path) -> None:
        """Replace the folder's state.

        Raises:
            ClapError: no space, or no right to write; the state that was there is still there.
        """
        content = {
            "version": VERSION, "epoch": self.epoch, "records": self.records,
            "gain": asdict(self.gain), "partial": vars(self.partial), "logged": self.logged,
        }  # fmt: skip
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        state_file.write(folder / LAST, {**content, **parts, "bias": self.bias.detach()})

    def load(self, folder: Path, device: torch.device) -> None:
        """Go on from the folder's state, if there is one, at the config's rates.

        Raises:
            ClapError: it is damaged, of another version, or of another model.
        """
        path = folder / LAST
        state = state_file.read(path, device)
        if state is None:
            return
        if state.get("version") != VERSION:
            raise ClapError(
                f"{path} is of version {state.get('version', 1)}, this program writes {VERSION}: "
                "finish that run with the program that began it, or choose another 'out'."
            )
        # Rates, decay and betas lie in the optimiser's state too: those of the config count.
        asked = [{k: v for k, v in group.items() if k != "params"} for group in self._groups]
        try:
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
            for group, options in zip(self._groups, asked, strict=True):
                group.update(options)
            with torch.no_grad():
                self.bias.copy_(state["bias"])
            self.epoch, self.records = int(state["epoch"]), list(state["records"])
            if state["gain"]["figure"] == self.gain.figure:  # that of another one says nothing
                self.gain = Gain(**state["gain"])
            self.partial, self.logged = Partial(**state["partial"]), int(state["logged"])
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split()[:40])
            raise ClapError(
                f"{path} is of a run with another model or optimiser ({reason}): choose another "
                "'out', or give the config that it was made with."
            ) from error

    @property
    def _groups(self) -> list[dict[str, Any]]:
        return self.optimiser.param_groups

    def _parts(self) -> dict[str, Any]:
        parts: dict[str, Any] = {
            "model": self.model, "optimiser": self.optimiser, "plateau": self.plateau,
            "scaler": self.scaler,
        }  # fmt: skip
        kept = {"average": self.average, "lesson": self.lesson}
        return parts | {name: part for name, part in kept.items() if part is not None}
