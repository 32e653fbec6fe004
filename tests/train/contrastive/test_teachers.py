"""Learning from finished models beside the labels."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clap_export.checkpoints import load
from runtime import schema
from runtime.errors import ClapError, SchemaError
from tests import tiny
from tests.tiny import run as tinyrun
from train.config.contrastive import TrainConfig
from train.config.teaching import TeachersConfig
from train.contrastive.run import run
from train.contrastive.teachers import Teachers
from train.losses import teacher_loss
from train.machine.distributed import Ranks

CPU = torch.device("cpu")
TEXTS = ("rain", "a siren", "the sea", "wind and a bell")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, ...]:
    """Two teachers with other towers and other temperatures."""
    first = tiny.save(tmp_path / "first.safetensors")
    second = tiny.save(tmp_path / "second.safetensors", audio="htsat", text="roberta-mean")
    return str(first), str(second)


def alone(path: str, waveform: torch.Tensor, text: str) -> float:
    """A teacher's scaled cosine of one clip with one text, each embedded by itself."""
    found = load(path)
    ids = tiny.tokenizer().encode(text + found.model.config.text_encoder.suffix)
    options = found.model.config.text_encoder
    names = {"input_ids": ids.ids, "attention_mask": ids.attention_mask}
    if options.token_type_ids:
        names["token_type_ids"] = ids.type_ids
    with torch.no_grad():
        written = found.model.embed_text(**{k: torch.tensor([v]) for k, v in names.items()})
        heard = found.model.embed_audio(waveform[None])
    return float(found.model.scale().detach() * (heard * written).sum())


def test_teachers_say_the_mean_of_what_each_says_alone(pair: tuple[str, ...]) -> None:
    """Probabilities, not cosines, are averaged: the teachers' spaces have nothing in common."""
    waveforms, chosen = tiny.waveforms(3), [3, 0, 2]
    audio = tiny.config().audio
    found = Teachers(TeachersConfig(pair, 0.5), audio, TEXTS, CPU)(waveforms, chosen)
    for clip, waveform in enumerate(waveforms):
        want = np.zeros(len(chosen))
        for path in pair:
            logits = [alone(path, waveform, TEXTS[i]) for i in chosen]
            weights = [math.exp(x - max(logits)) for x in logits]
            want += np.array(weights) / sum(weights) / len(pair)
        assert found[clip].numpy() == pytest.approx(want, abs=1e-5)


def test_loss_is_the_cross_entropy_and_shares_add_up() -> None:
    rng = np.random.default_rng(3)
    audio, text = (torch.from_numpy(rng.standard_normal(shape)) for shape in ((5, 4), (6, 4)))
    taught = torch.from_numpy(rng.dirichlet(np.ones(6), 5))
    scale = torch.tensor(2.5)
    logits = 2.5 * audio.numpy() @ text.numpy().T
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    want = -(taught.numpy() * log_p).sum() / 5
    assert teacher_loss(audio, text, scale, taught, 5).item() == pytest.approx(want)
    shares = []
    for rank in range(2):
        own = slice(rank, None, 2)
        share = teacher_loss(audio[own], text, scale, taught[own], 5, Ranks(rank, 2))
        shares.append(share.item())
    assert np.mean(shares) == pytest.approx(want)


def test_teachers_of_another_window_are_all_named(tmp_path: Path, pair: tuple[str, ...]) -> None:
    audio = replace(tiny.config().audio, window_samples=4000, hop_samples=4000)
    with pytest.raises(ClapError) as caught:
        Teachers(TeachersConfig(pair, 0.5), audio, TEXTS, CPU)
    for path in pair:
        assert f"{path} hears 8000 samples at 8000 Hz" in str(caught.value)
    fused = str(tiny.save(tmp_path / "fused.safetensors", audio=tiny.FUSION))
    with pytest.raises(ClapError, match="fused with longer clips"):
        Teachers(TeachersConfig((fused,), 0.5), tiny.config().audio, TEXTS, CPU)


def lesson(folder: Path, **changes: Any) -> TrainConfig:
    folder.mkdir()
    return replace(
        tinyrun.config(folder, epochs=10, steps_per_epoch=6, text_from_epoch=10, validate_every=10),
        **changes,
    )


def accuracy(config: TrainConfig) -> float:
    """Zero-shot, of the last epoch's record."""
    run(config)
    lines = (config.folder / "metrics.jsonl").read_text().splitlines()
    return json.loads(lines[-1])["held-out"]


@pytest.mark.slow
def test_at_full_weight_a_student_learns_what_its_teacher_knows_and_no_more(tmp_path: Path) -> None:
    ignorant = tiny.save(tmp_path / "ignorant.safetensors")
    school = lesson(tmp_path / "school", text_init=str(ignorant))
    assert accuracy(school) == 1.0  # by the labels
    expert = school.folder / "model.safetensors"
    for teacher, least, most in ((expert, 0.85, 1.0), (ignorant, 0.0, 0.7)):
        teachers = TeachersConfig((str(teacher),), 1.0)
        folder = tmp_path / f"taught-by-{teacher.parent.name}"
        taught = accuracy(lesson(folder, text_init=str(ignorant), teachers=teachers))
        assert least <= taught <= most, teacher


@pytest.mark.parametrize(
    ("teachers", "problem"),
    [
        ({"checkpoints": [], "weight": 0.5}, "there are no 'checkpoints'"),
        ({"checkpoints": ["a"], "weight": 1.5}, "must be above 0 and at most 1"),
    ],
)
def test_teachers_that_make_no_sense_are_refused(teachers: dict[str, Any], problem: str) -> None:
    with pytest.raises(SchemaError, match=problem):
        schema.read(TeachersConfig, teachers, "run.toml")
