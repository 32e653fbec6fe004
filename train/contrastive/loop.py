"""The contrastive run: one loop, top to bottom."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Protocol, TypeVar

import torch
from tokenizers import Tokenizer
from torch import Tensor

from clap_export.model.clap import ClapModel
from runtime.errors import ClapError
from train.config.contrastive import LoopConfig, TrainConfig
from train.contrastive.batch import Preparer
from train.contrastive.captions import CaptionBank
from train.contrastive.lora import inject, merged
from train.contrastive.optimiser import rates, set_learning, set_rates
from train.contrastive.saver import Saver
from train.contrastive.state import Partial, RunState
from train.contrastive.step import Learner, prepare_towers
from train.contrastive.teachers import Teachers
from train.data.clips import ClipStore, Draws
from train.machine.amp import AMP
from train.machine.device import channels_last
from train.machine.distributed import Ranks, synchronise_batch_norm
from train.machine.progress import track
from train.machine.run import Run
from train.tagger import Lesson, Tagger

log = logging.getLogger(__name__)

T = TypeVar("T")


class Measure(Protocol):
    """Something to validate on: a task, or a set of captioned recordings."""

    name: str

    def measure(self, model: ClapModel, tokenizer: Tokenizer) -> dict[str, Any]:
        """Figures by their names in the records of the run."""
        ...


def train(
    model: ClapModel, tokenizer: Tokenizer, store: ClipStore, measures: Sequence[Measure],
    run: Run[TrainConfig],
) -> ClapModel:  # fmt: skip
    """Train ``model`` on ``store``; returns the model that was averaged (EMA) or the last one.

    All that is random comes from generators of (seed, epoch, step, what for), so that a run resumed
    after any save continues with the same numbers as one that was never stopped.

    Args:
        model: starts the run; a state in the output folder takes its place.
        tokenizer: of its text tower.
        store: clips to learn from, the same on every process.
        measures: to validate on; used on the first process alone.
        run: config, device and processes. Only the first process writes.

    Raises:
        ClapError: a batch that does not divide among the processes, a state that is no use, or a
            loss that is not finite.
    """
    config, device, ranks = run.config, run.device, run.ranks
    loop = config.loop
    _check_shares(loop, ranks)
    model.to(device)
    channels_last(model.audio_encoder)
    if config.lora is not None:
        inject(model, config.lora, config.seed)
    synchronise_batch_norm(model, device, ranks)
    tagger, lesson = _tagger(model, run)
    state = RunState(model, loop, device, lesson)
    state.load(config.folder, device)
    prepare_towers(model, config)  # after the average was copied: it needs none of it
    bank = CaptionBank(store.clips, config.templates, () if tagger is None else tagger.names)
    teachers = None
    if config.teachers is not None:
        teachers = Teachers(config.teachers, model.config.audio, bank.texts, device)
    prepare = Preparer(model, bank, run, teachers, tagger)
    learner = Learner(state, tokenizer, bank, run)
    saver = Saver(state, run)
    for epoch in range(state.epoch, loop.epochs):
        if state.gain.over(loop.patience):
            break
        if state.partial.states is not None:
            bank.states = state.partial.states
        elif _needs_states(bank, epoch, config):
            bank.refresh(model, tokenizer, device)
        texts = bank.states if epoch >= loop.starts("text") else None
        set_learning(model, epoch, loop)
        first = state.partial.steps
        clock, losses = _Clock(), state.partial.losses
        turns = loop.steps_per_epoch if loop.sampling == "turns" else None
        draws = Draws(
            config.seed, epoch, loop.batch_size, config.augment, turns, loop.long_share,
            loop.long_windows,
        )  # fmt: skip
        steps = range(first, loop.steps_per_epoch)
        batches = store.batches(draws, steps, ranks, device.type == "cuda")
        with closing(batches):  # pyright: ignore[reportArgumentType]
            waited = zip(steps, clock.waiting(batches), strict=True)
            if ranks.first:
                waited = track(waited, f"epoch {epoch + 1}/{loop.epochs}", len(steps))
            for step, batch in waited:
                done = epoch * loop.steps_per_epoch + step
                set_rates(state.optimiser, state.rate_factor(done))
                loss, norm = learner.step(prepare(batch, epoch, step), epoch, step)
                losses.append(loss)
                saver.note(loss, norm, epoch, done + 1)
                left = loop.steps_per_epoch - step - 1
                if loop.save_every is not None and left and (step + 1) % loop.save_every == 0:
                    losses = list(ranks.mean(torch.stack(losses)).unbind())  # of all processes
                    _joint_loss(losses, epoch, ranks)
                    state.partial = Partial(step + 1, losses, texts)
                    saver.save_steps()
        loss = _joint_loss(losses, epoch, ranks)
        record: dict[str, Any] = {
            "epoch": epoch + 1, "loss": loss, "scale": model.scale().item(),
            "lr": state.optimiser.param_groups[0]["lr"], "rates": rates(state.optimiser),
            **clock.read(loop, len(steps)),
        }  # fmt: skip
        validates = (epoch + 1) % loop.validate_every == 0 or epoch + 1 == loop.epochs
        if validates and ranks.first:
            for one in measures:
                record |= one.measure(state.validated, tokenizer)
        _watch(state, record, run, validates)
        gained = validates and _judge(state, record, run)
        state.epoch, state.partial = epoch + 1, Partial()
        state.records.append(record)
        saver.save_epoch(record, tokenizer, gained)
    saver.close(measures)
    return merged(state.validated)


def _joint_loss(losses: Sequence[Tensor], epoch: int, ranks: Ranks) -> float:
    """The mean over steps and processes; what led to no finite one is not saved."""
    loss = ranks.mean(torch.stack(list(losses)).mean()).item()
    if not math.isfinite(loss):
        raise ClapError(
            f"the loss became {loss} in epoch {epoch + 1}; the state of the last save is kept. "
            "Lower the learning rate, lengthen the warm-up, or turn amp off."
        )
    return loss


def _check_shares(loop: LoopConfig, ranks: Ranks) -> None:
    each, rest = divmod(loop.batch_size, ranks.world)
    if rest or each < loop.accumulate:
        raise ClapError(
            f"loop.batch_size is {loop.batch_size}, the joint batch: it must be a multiple of "
            f"the {ranks.world} processes, and leave each at least accumulate = {loop.accumulate} "
            "clips."
        )


def _tagger(model: ClapModel, run: Run[TrainConfig]) -> tuple[Tagger, Lesson] | tuple[None, None]:
    """The tagger that the config names, and heads that begin alike on every process."""
    config = run.config
    if config.tagger is None:
        return None, None
    audio, dtype = model.config.audio, AMP[config.loop.amp]
    run.seed_torch("lesson")
    lesson = Lesson(config.tagger, model.audio_encoder.width, model.config.embedding_dim)
    return Tagger(config.tagger, audio, run.device, dtype), lesson.to(run.device)


def _needs_states(bank: CaptionBank, epoch: int, config: TrainConfig) -> bool:
    """A frozen text tower's states stay; a learning one's serve as negatives and as tags."""
    if epoch < config.loop.starts("text"):
        return bank.states is None
    return config.loop.text_negatives > 0 or config.tagger is not None


def _watch(state: RunState, record: dict[str, Any], run: Run[TrainConfig], validated: bool) -> None:
    """Let the plateau schedule see what it waits for; on every process the same."""
    loop = run.config.loop
    if loop.schedule != "plateau" or (loop.plateau_on == "task" and not validated):
        return
    name = "loss" if loop.plateau_on == "loss" else run.config.tasks[0].name
    state.plateau.see(_told(record, name, run))


def _judge(state: RunState, record: dict[str, Any], run: Run[TrainConfig]) -> bool:
    """Whether the figure that the run is judged by is better than ever; on every process alike."""
    figure = run.config.loop.best_by
    return figure is not None and state.gain.see(_told(record, figure, run), record["epoch"])


def _told(record: dict[str, Any], name: str, run: Run[TrainConfig]) -> float:
    """A figure of the first process, which alone has validated."""
    value = torch.tensor(record.get(name, 0.0), dtype=torch.float64, device=run.device)
    run.ranks.broadcast([value])
    return value.item()


class _Clock:
    """How long an epoch takes, and how much of it is waiting for data."""

    def __init__(self) -> None:
        self._began, self._waited = time.monotonic(), 0.0

    def waiting(self, items: Iterator[T]) -> Iterator[T]:
        """``items``; counts the time until each is there."""
        while True:
            asked = time.monotonic()
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                self._waited += time.monotonic() - asked
            yield item

    def read(self, loop: LoopConfig, steps: int) -> dict[str, float]:
        """Seconds of the epoch (since it was resumed) and of each of so many steps, clips a second,
        and the share spent waiting."""
        took = time.monotonic() - self._began
        return {
            "seconds": took, "step_seconds": took / steps,
            "samples_per_second": steps * loop.batch_size / took, "waiting": self._waited / took,
        }  # fmt: skip
