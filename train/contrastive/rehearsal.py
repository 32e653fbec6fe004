"""``--dry-run``: everything that a run needs is looked at, and two of its steps are made."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch
from tokenizers import Tokenizer

from clap_export.model.clap import ClapModel
from runtime.errors import ClapError
from train.config.contrastive import TrainConfig
from train.contrastive.captions import CaptionBank
from train.contrastive.journal import METRICS
from train.contrastive.loop import train
from train.contrastive.made_with import check
from train.contrastive.start import TEXT_STAGE, start_model, untaught
from train.data.clips import ClipStore
from train.data.listing import Clip, read_listing
from train.machine.device import pick_device
from train.machine.free_memory import free_memory
from train.machine.random_streams import generator, seed_weights
from train.machine.run import Run
from train.zero_shot.captioned import CaptionedSet
from train.zero_shot.task import ClipStoreFactory, Task

STEPS = 2  # the first one of a process takes longer than those that follow
LEAST_CLIPS = 64  # of which the batches are drawn


@dataclass(frozen=True)
class Rehearsal:
    """What was found.

    Attributes:
        clips: that can be read, by their headers.
        bad: that cannot.
        damaged: that are there in part.
        hours: of audio.
        gigabytes: that they take in memory once decoded.
        held: whether they would be held there.
        labels, texts: of the clips.
        parameters: of the model, and how many of them learn.
        measured: of each task and retrieval set, how many recordings.
        done: epochs that the folder has already.
        step_seconds: of one step; of a run's first two, which are the slowest.
        run_hours: of the steps that are left, at that pace.
        memory_gb: most that the process took, on the device where it has its own.
    """

    clips: int
    bad: int
    damaged: int
    hours: float
    gigabytes: float
    held: bool
    labels: int
    texts: int
    parameters: tuple[int, int]
    measured: dict[str, int]
    done: int
    step_seconds: float
    run_hours: float
    memory_gb: float

    def lines(self) -> list[str]:
        """For a reader."""
        every, learning = self.parameters
        where = "held in memory" if self.held else "decoded as they are drawn"
        measured = ", ".join(f"{name} ({n})" for name, n in self.measured.items()) or "nothing"
        return [
            f"clips: {self.clips} of {self.hours:.1f} hours, {self.gigabytes:.1f} GB, {where}; "
            f"{self.bad} cannot be read, {self.damaged} are there in part",
            f"texts: {self.texts} of {self.labels} labels",
            f"model: {every / 1e6:.1f} M parameters, of which {learning / 1e6:.1f} M learn",
            f"measured on: {measured}",
            f"epochs already in the folder: {self.done}",
            f"a step: {self.step_seconds:.2f} s; the run: about {self.run_hours:.1f} hours",
            f"memory: {self.memory_gb:.1f} GB at most",
        ]


def rehearse(config: TrainConfig, override: bool = False) -> Rehearsal:
    """Look at all that a run reads, make two steps, and leave nothing behind.

    The text stage is not made: a text tower that has learned nothing takes its place.

    Args:
        config: of the run.
        override: as for the run.

    Raises:
        ClapError: anything for which the run would end.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ClapError("--dry-run is for one process: leave torchrun out.")
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    device = pick_device(config.device)
    _check_out(config.folder)
    listings = [read_listing(listing) for listing in config.listings]
    clips = [clip for listing in listings for clip in listing]
    done = check(config, listings, override, write=False)
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
        short = _short(config, Path(folder))
        run = Run(short, device)
        seed_weights(config.seed)
        model, tokenizer = _model(Run(config, device))
        model.to(device)
        spec, share = model.config.audio, config.data.bad_share
        whole = ClipStore(clips, spec, config.threads, 0, share)
        factory = ClipStoreFactory(spec, memory=0)
        tasks = [Task(task, factory) for task in config.tasks]
        sets = [CaptionedSet(one, factory, config.loop.batch_size) for one in config.retrieval]
        few = ClipStore(_some(whole.clips, config), spec, config.threads, 0, share)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        train(model, tokenizer, few, [], run)
        step_seconds = _step_seconds(Path(folder))
    report, bank = whole.report(), CaptionBank(whole.clips, config.templates)
    steps = (config.loop.epochs - done) * config.loop.steps_per_epoch
    limit = free_memory() // 2 if config.data.memory is None else config.data.memory
    return Rehearsal(
        clips=len(whole.clips), bad=len(whole.bad), damaged=len(whole.damaged),
        hours=float(str(report["hours"])), gigabytes=whole.bytes / 1e9, held=whole.bytes <= limit,
        labels=len(bank.labels), texts=len(bank.texts),
        parameters=(
            sum(p.numel() for p in model.parameters()),
            sum(p.numel() for p in model.parameters() if p.requires_grad),
        ),
        measured={one.name: len(one.store.clips) for one in (*tasks, *sets)},
        done=done, step_seconds=step_seconds, run_hours=steps * step_seconds / 3600,
        memory_gb=_memory(device) / 1e9,
    )  # fmt: skip


def _check_out(out: Path) -> None:
    """Whether the folder could be made."""
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ClapError(f"out = '{out}' cannot be made a folder: '{there}' cannot be written to.")


def _short(config: TrainConfig, folder: Path) -> TrainConfig:
    """Two steps in which all learns that ever does."""
    loop = replace(
        config.loop, long_share=float(config.loop.long_share > 0),
        epochs=1, steps_per_epoch=STEPS, warmup_epochs=0.0, audio_from_epoch=0,
        text_from_epoch=0, schedule="cosine", save_every=None, best_by=None, patience=None,
    )  # fmt: skip
    return replace(
        config, out=str(folder), loop=loop, tasks=(), retrieval=(), tensorboard=False, wandb="off"
    )


def _model(run: Run[TrainConfig]) -> tuple[ClapModel, Tokenizer]:
    config = run.config
    stage = config.folder / TEXT_STAGE
    if config.text is not None and config.model is not None and not stage.is_file():
        return untaught(config, config.model, config.text)
    return start_model(run)


def _some(clips: list[Clip], config: TrainConfig) -> list[Clip]:
    most = max(LEAST_CLIPS, STEPS * config.loop.batch_size)
    chosen = generator(config.seed, "rehearsal").permutation(len(clips))[:most]
    return [clips[i] for i in sorted(chosen)]


def _step_seconds(folder: Path) -> float:
    return json.loads((folder / METRICS).read_text(encoding="utf-8"))["step_seconds"]


def _memory(device: torch.device) -> int:
    """Bytes at the highest point so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # not on Windows
        return psutil.Process().memory_info().rss
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
