"""``python -m train CONFIG.toml``: a run from its config, each stage kept on disk."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import torch
from tokenizers import Tokenizer

from clap_export.checkpoints import load, native
from clap_export.model.clap import ClapModel
from train.config.contrastive import TrainConfig
from train.contrastive.loop import train
from train.contrastive.made_with import check
from train.contrastive.saver import BEST, FINISHED
from train.contrastive.start import start_model
from train.data.clips import ClipStore
from train.data.listing import read_listing
from train.machine.device import pick_device
from train.machine.distributed import processes
from train.machine.folder import run_folder
from train.machine.free_memory import free_memory
from train.machine.random_streams import seed_weights
from train.machine.run import Run
from train.zero_shot.calibrate import apply
from train.zero_shot.captioned import CaptionedSet
from train.zero_shot.task import ClipStoreFactory, Task


def run(config: TrainConfig, override: bool = False) -> Path:
    """Run or resume; returns the path of the finished checkpoint, the best one if one is chosen.

    Stages whose result is already in the output folder are not repeated. Started by torchrun, this
    is one process of several: the first one writes, and makes what the others then read.

    Args:
        config: of the run.
        override: go on in a folder that was made with other values; what differs is written down.

    Raises:
        ClapError: anything in the config that does not fit the files it names, another run at work
            in the same folder, or a folder that was made otherwise.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    device = pick_device(config.device)
    with processes(device) as ranks:
        if not ranks.first:
            logging.getLogger().setLevel(logging.WARNING)
        with run_folder(config.folder, ranks):
            return _run(Run(config, device, ranks), override)


def _run(run: Run[TrainConfig], override: bool) -> Path:
    config, ranks = run.config, run.ranks
    listings = [read_listing(listing) for listing in config.listings]
    with ranks.first_one_first():
        if ranks.first:
            check(config, listings, override)
    seed_weights(config.seed)
    with ranks.first_one_first():
        model, tokenizer = start_model(run)
    model.to(run.device)
    ranks.broadcast(model.state_dict().values())
    clips = [clip for listing in listings for clip in listing]
    store = ClipStore(
        clips, model.config.audio, config.threads, _memory(run), config.data.bad_share
    )
    tasks: list[Task] = []
    sets: list[CaptionedSet] = []
    if ranks.first:
        factory = ClipStoreFactory(model.config.audio)
        tasks = [Task(task, factory) for task in config.tasks]
        sets = [CaptionedSet(one, factory, config.loop.batch_size) for one in config.retrieval]
        store.write_report(config.folder)
    last = train(model, tokenizer, store, [*tasks, *sets], run)
    if ranks.first:
        store.write_report(config.folder)
        _finish(last, tasks, tokenizer, config.folder / FINISHED)
        if config.loop.best_by is not None:
            best = load(config.folder / BEST).model.to(run.device).eval()
            _finish(best, tasks, tokenizer, config.folder / BEST)
    return config.folder / (FINISHED if config.loop.best_by is None else BEST)


def _finish(model: ClapModel, tasks: list[Task], tokenizer: Tokenizer, path: Path) -> None:
    """Calibrate a model and write it."""
    if tasks:
        apply(model, [task.run(model, tokenizer) for task in tasks])
    native.save(path, model, tokenizer.to_str())


def _memory(run: Run[TrainConfig]) -> int:
    """Bytes for the waveforms of one process: its part of the limit, or of half of what is free.

    All processes must hold their clips or all decode them when drawn, or bad clips would have
    another effect here than there; so the first one's part counts.
    """
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    limit = run.config.data.memory
    everything = free_memory() // 2 if limit is None else limit
    share = torch.tensor(everything // here, device=run.device)
    run.ranks.broadcast([share])
    return int(share)
