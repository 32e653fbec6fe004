"""A handful of generated clips, and a config that trains on them in a second or two."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.generated.checkpoints import without_dropout as without_dropout
from clap_export.model.clap import ClapModel
from clap_export.model.cnn14 import Cnn14Config
from clap_export.model.config import AudioEncoderConfig, ClapConfig
from runtime import schema
from tests import tiny
from train.config.contrastive import LoopConfig, TrainConfig
from train.config.data import AugmentConfig, ListingConfig, TaskConfig
from train.contrastive.batch import Preparer
from train.contrastive.captions import CaptionBank
from train.contrastive.optimiser import set_learning
from train.contrastive.state import RunState
from train.contrastive.step import Learner
from train.data.clips import ClipStore, Draws
from train.data.listing import read_listing
from train.machine.run import Run
from train.tagger import Lesson, Tagger

LABELS = ("tone", "noise", "clicks")
CAPTIONS = {"tone": "a steady tone", "noise": "loud noise", "clicks": "clicks, again and again"}


def sound(label: str, seed: int, samples: int = tiny.WINDOW) -> np.ndarray:
    """One clip ``[samples]`` float32 of a class."""
    rng = np.random.default_rng((LABELS.index(label), seed))
    t = np.arange(samples) / tiny.RATE
    if label == "tone":
        x = np.sin(2 * np.pi * rng.uniform(300, 2000) * t)
    elif label == "noise":
        x = rng.uniform(-1, 1, samples)
    else:
        x = (np.arange(samples) % int(rng.integers(600, 1200)) < 4).astype(float)
    return (rng.uniform(0.2, 0.8) * x + 1e-3 * rng.standard_normal(samples)).astype(np.float32)


def listing(folder: Path, seeds: range) -> ListingConfig:
    """Write clips and their CSV."""
    rows = ["file,class,caption"]
    for label in LABELS:
        for seed in seeds:
            name = f"{label}{seed}.wav"
            tiny.write_wav(folder / name, sound(label, seed))
            rows.append(f'{name},{label},"{CAPTIONS[label]}"')
    path = folder / f"clips{seeds.start}.csv"
    path.write_text("\n".join(rows) + "\n")
    return ListingConfig(
        str(path), "file", captions=("caption",), names=("class",), labels=("class",)
    )


def learn(made: TrainConfig, shape: ClapConfig) -> tuple[RunState, Tensor]:
    """The state after one step from generator seed 0, gradients still there, and the loss.

    A tagger's heads drop nothing out.
    """
    state, step = begin(made, shape, torch.device("cpu"))
    return state, step(0)


def begin(
    made: TrainConfig, shape: ClapConfig, device: torch.device
) -> tuple[RunState, Callable[[int], Tensor]]:
    """A state from generator seed 0, and what makes the steps of its first epoch, each once."""
    torch.manual_seed(0)
    model = ClapModel(shape).to(device)
    tagger, lesson, names = None, None, ()
    if made.tagger is not None:
        lesson = Lesson(made.tagger, model.audio_encoder.width, shape.embedding_dim).eval()
        lesson.to(device)
        tagger = Tagger(made.tagger, shape.audio, device, torch.float32)
        names = tagger.names
    state = RunState(model, made.loop, device, lesson)
    store = ClipStore(read_listing(made.listings[0]), shape.audio)
    bank = CaptionBank(store.clips, made.templates, names)
    bank.refresh(model, tiny.tokenizer(), device)
    set_learning(model, 0, made.loop)
    steps = range(made.loop.steps_per_epoch)
    batches = list(store.batches(Draws(1, 0, made.loop.batch_size, made.augment), steps))
    run = Run(made, device)
    prepare = Preparer(model, bank, run, tagger=tagger)
    learner = Learner(state, tiny.tokenizer(), bank, run)
    return state, lambda number: learner.step(prepare(batches[number], 0, number), 0, number)[0]


def toml(value: Any) -> str:
    """Plain data as TOML, tables inline; what is None is left out, as TOML has no null."""
    if isinstance(value, dict):
        items = (f"{json.dumps(k)} = {toml(v)}" for k, v in value.items() if v is not None)
        return "{" + ", ".join(items) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return repr(value) if isinstance(value, float) else json.dumps(value)


def write(made: TrainConfig, path: Path) -> Path:
    """A config as the file that ``python -m train`` reads."""
    plain = schema.to_plain(made)
    lines = [f"{key} = {toml(value)}" for key, value in plain.items() if value is not None]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def config(
    folder: Path, *, augment: AugmentConfig | None = None, dropout: float = 0.0, **loop: Any
) -> TrainConfig:
    """Clips 0 to 3 of each class to train on, 4 to 6 to validate on; output in ``folder/run``."""
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n")
    encoder = Cnn14Config(tiny.MEL.n_mels, 20, (4, 6, 8), dropout, dropout)
    model = replace(tiny.config(), audio_encoder=AudioEncoderConfig(cnn14=encoder))
    options: dict[str, Any] = {
        "epochs": 4, "steps_per_epoch": 3, "batch_size": 8, "learning_rate": 5e-3,
        "weight_decay": 0.01, "warmup_epochs": 1, "text_from_epoch": 2, "text_learning_rate": 1e-3,
        "text_negatives": 2, "amp": "off", "ema": 0.8, "validate_every": 2,
    }  # fmt: skip
    return TrainConfig(
        out=str(folder / "run"),
        seed=7,
        threads=None,
        device="cpu",
        init=None,
        templates=("the sound of {}",),
        model=model,
        text=None,
        listings=(listing(folder, range(4)),),
        tasks=(TaskConfig("held-out", listing(folder, range(4, 7)), str(folder / "labels.txt")),),
        augment=augment or AugmentConfig(),
        loop=LoopConfig(**{**options, **loop}),
    )
