"""A teacher that tells three kinds of sound apart, clips to listen to, and a small student."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clap_export.checkpoints import native
from clap_export.model.cnn14 import Cnn14Config
from clap_export.model.config import AudioEncoderConfig, ProjectionConfig, TextEncoderConfig
from runtime.audio_spec import AudioSpec, Mel
from runtime.manifest import Calibration
from tests import tiny
from tests.tiny import run as tinyrun
from train.config.data import TextSource
from train.config.distil import (
    AudioLessonConfig,
    DistilConfig,
    StudentConfig,
    TeacherConfig,
    TextLessonConfig,
)
from train.data.texts import encode

# Another rate, another window (shorter than the teacher's 1 s) and another mel than the teacher's.
RATE = 6_000
MEL = Mel(RATE, 256, 120, 16, 50.0, 2900.0, "htk", "slaney", 1e-8)
SPEC = AudioSpec(RATE, RATE * 3 // 4, RATE * 3 // 4, "repeat", False, MEL)
CALIBRATION = Calibration(7.0, -2.5)


def teacher(folder: Path, seed: int = 0) -> Path:
    """A checkpoint with a logit scale, a prompt and a calibration that are not the defaults.

    What its embeddings have in common is taken away: random towers give nearly one vector for
    everything, and then whoever learns that one has a cosine near 1.
    """
    folder.mkdir(parents=True, exist_ok=True)
    linear = ProjectionConfig("linear")
    made = tiny.config(
        name="wise", licence="CC BY 4.0", default_template="hear {}", calibration=CALIBRATION,
        audio_projection=linear, text_projection=linear,
    )  # fmt: skip
    model = tiny.model(made, seed)
    sounds = [tinyrun.sound(label, i, 6000) for label in tinyrun.LABELS for i in range(90, 98)]
    heard = torch.from_numpy(np.stack([np.resize(x, tiny.WINDOW) for x in sounds]))
    read = encode(tiny.tokenizer(), tiny.SENTENCES, made.text_encoder)
    with torch.no_grad():
        model.logit_scale.fill_(2.0)
        for projection, states in (
            (model.audio_projection, model.audio_encoder(model.mel(heard))),
            (model.text_projection, model.text_encoder(**read)),
        ):
            projection.linear1.bias -= projection(states).mean(0)
    path = folder / f"teacher{seed}.safetensors"
    native.save(path, model, tiny.tokenizer().to_str())
    return path


def clips(folder: Path, count: int = 16, seconds: float = 0.75) -> Path:
    """A folder of WAV files, ``count`` of each kind of sound."""
    folder.mkdir(parents=True, exist_ok=True)
    for label in tinyrun.LABELS:
        for seed in range(count):
            samples = tinyrun.sound(label, seed, int(seconds * tiny.RATE))
            tiny.write_wav(folder / f"{label}{seed}.wav", samples)
    return folder


def student(**changes: Any) -> StudentConfig:
    """A CNN14 of three small blocks, in the teacher's dimension."""
    encoder = Cnn14Config(MEL.n_mels, 24, (6, 8, 12), 0.0, 0.0)
    made = StudentConfig(
        "pupil",
        "MIT",
        tiny.DIM,
        SPEC,
        AudioEncoderConfig(cnn14=encoder),
        ProjectionConfig("linear"),
    )
    return replace(made, **changes)


def config(folder: Path, **changes: Any) -> DistilConfig:
    """Audio only; two epochs on 48 clips; the teacher's text tower is kept."""
    checkpoint = folder / "teacher0.safetensors"
    sounds = folder / "sounds"
    made = DistilConfig(
        out=str(folder / "run"),
        seed=5,
        device="cpu",
        text="teacher",
        teacher=TeacherConfig(str(checkpoint if checkpoint.is_file() else teacher(folder))),
        student=student(),
        audio=AudioLessonConfig(
            2, 8, 1e-2, files=(str(sounds if sounds.is_dir() else clips(sounds)),)
        ),
    )
    return replace(made, **changes)


def with_text(folder: Path, **changes: Any) -> DistilConfig:
    """The text tower learns too, from 150 made sentences."""
    rng = np.random.default_rng(0)
    words = sorted({word for line in tiny.SENTENCES for word in line.lower().split()})
    lines = [" ".join(rng.choice(words, rng.integers(1, 5), replace=False)) for _ in range(150)]
    path = folder / "texts.csv"
    path.write_text("\n".join(["said", *(f'"{line}"' for line in lines)]) + "\n")
    options = {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": tiny.TOKENS,
    }  # fmt: skip
    encoder = TextEncoderConfig("bert", options, "mean", tiny.TOKENS, 0, token_type_ids=True)
    made = config(
        folder,
        text="distil",
        student=student(text_encoder=encoder, text_projection=ProjectionConfig("linear")),
        texts=TextLessonConfig((TextSource(str(path), ("said",)),), 2, 16, 1e-2),
    )
    return replace(made, **changes)
