"""What a run writes while it learns, and when: state, checkpoints, and records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from tokenizers import Tokenizer
from torch import Tensor

from clap_export.checkpoints import native
from train.config.contrastive import TrainConfig
from train.contrastive.boards import boards
from train.contrastive.journal import PLOT, Journal, plot
from train.contrastive.lora import merged
from train.contrastive.optimiser import rates
from train.contrastive.state import RunState
from train.machine.run import Run

FINISHED = "model.safetensors"
BEST = "best.safetensors"


class Named(Protocol):
    """What was measured."""

    name: str


class Saver:
    """Writes on the first process; the others give it their share of what is written.

    Args:
        state: of the run, as it goes on.
        run: whose folder.
    """

    def __init__(self, state: RunState, run: Run[TrainConfig]) -> None:
        self._state, self._run, self._folder = state, run, run.config.folder
        self._pending: list[tuple[int, int, Tensor, Tensor, dict[str, float]]] = []
        self._journal: Journal | None = None
        if run.ranks.first:
            done = state.epoch * run.config.loop.steps_per_epoch + state.partial.steps
            self._journal = Journal(
                self._folder, state.records, state.logged, boards(run.config, done)
            )

    def note(self, loss: Tensor, norm: Tensor, epoch: int, step: int) -> None:
        """Keep a step's figures, without waiting for the device to know them.

        Args:
            loss: this process' share.
            norm: of all gradients.
            epoch: counted from 0.
            step: of the run, counted from 1.
        """
        self._pending.append((epoch + 1, step, loss, norm, rates(self._state.optimiser)))

    def save_steps(self) -> None:
        """Within an epoch: the state, and the steps since the last save."""
        self._write_steps()
        if self._journal is not None:
            self._state.save(self._folder)

    def save_epoch(self, record: dict[str, Any], tokenizer: Tokenizer, gained: bool) -> None:
        """After an epoch: all files.

        Args:
            record: of the epoch.
            tokenizer: that goes into the checkpoints.
            gained: whether this is the best epoch so far.
        """
        self._write_steps()
        if self._journal is None:
            return
        model, text = merged(self._state.validated), tokenizer.to_str()
        if gained:  # before the state that says so
            native.save(self._folder / BEST, model, text)
        self._state.save(self._folder)
        native.save(self._folder / FINISHED, model, text)
        self._journal.add(record, record["epoch"] * self._run.config.loop.steps_per_epoch)

    def close(self, measures: Sequence[Named]) -> None:
        """Draw the picture, and let go of the files."""
        if self._journal is None:
            return
        self._journal.close()
        records = self._state.records
        names = [n for one in measures for n in (one.name, f"{one.name} text->audio R@1")]
        shown = [name for name in names if any(name in record for record in records)]
        plot(records, shown, self._folder / PLOT)

    def _write_steps(self) -> None:
        if not self._pending:
            return
        losses = self._run.ranks.mean(torch.stack([loss for _, _, loss, _, _ in self._pending]))
        norms = torch.stack([norm for _, _, _, norm, _ in self._pending])
        known = zip(self._pending, losses.tolist(), norms.tolist(), strict=True)
        records = [
            {"epoch": epoch, "step": step, "loss": loss, "gradient_norm": norm, "rates": of}
            for (epoch, step, _, _, of), loss, norm in known
        ]
        self._pending = []
        if self._journal is not None:
            self._journal.steps(records)
            self._state.logged = self._journal.logged
