"""The audio lesson: what is drawn, from which generators, and what the student should give."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clap_export.checkpoints import Checkpoint, load
from clap_export.model.clap import ClapModel
from runtime.errors import ClapError
from tests import tiny
from tests.tiny import distil as tinydistil
from train.config.data import AugmentConfig
from train.distil.audio_lesson import AudioLesson
from train.distil.loss import regression_loss
from train.distil.recordings import Recordings, find
from train.distil.stretches import Stretches
from train.distil.student import start
from train.machine.run import Run

CPU = torch.device("cpu")


class Scene:
    """A teacher, its student, and 15 stretches, of which one is held out."""

    def __init__(self, folder: Path, **weights: float) -> None:
        self.folder = folder
        self.teacher: Checkpoint = load(tinydistil.teacher(folder))
        found = find((), (str(tinydistil.clips(folder / "sounds", 5)),))
        found = [replace(f, weight=weights.get(f.file.path.stem, 1.0)) for f in found]
        specs = [tinydistil.SPEC, self.teacher.model.config.audio]
        self.stretches = Stretches(Recordings(found, specs), tinydistil.SPEC, self.teacher.model)
        every = self.stretches.on_grid(np.arange(len(self.stretches)))
        embedded = self.stretches.embed(every)
        self.targets = embedded.numpy().astype(np.float16)

    def student(self) -> ClapModel:
        return start(tinydistil.student(), self.teacher, tiny.tokenizer(), 0)

    def lesson(self, batch: int = 4, live: bool = False, **augment: Any) -> AudioLesson:
        targets = None if live else self.targets
        config = tinydistil.config(self.folder, seed=3, augment=AugmentConfig(**augment))
        config = replace(config, audio=replace(config.audio, batch_size=batch))
        return AudioLesson(self.student(), self.stretches, targets, Run(config, CPU))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def losses(lesson: AudioLesson, epoch: int) -> list[float]:
    torch.manual_seed(0)
    return [loss.item() for loss in lesson.losses(epoch)]


def test_loss_is_nothing_for_the_teachers_own_vectors() -> None:
    a = torch.nn.functional.normalize(torch.randn(5, 8), dim=1)
    assert regression_loss(a, a).item() == pytest.approx(0, abs=1e-6)
    # Two that should be opposite and are the same: cosines 1 and -1, and half of the pairs' (each
    # cosine 1 where it should be -1) are off by 2.
    same, apart = torch.tensor([[1.0, 0.0]] * 2), torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert regression_loss(same, apart).item() == pytest.approx(1 + 10 * 0.5 * 4)


@pytest.mark.parametrize("live", [False, True])
def test_an_epoch_is_the_same_again_and_another_is_not(scene: Scene, live: bool) -> None:
    all_of_it = {"gain_db": 6.0, "speed": 0.1, "mix": 0.5, "mixstyle": 0.5, "filter_db": 3.0}
    lesson = scene.lesson(live=live, **all_of_it)
    assert lesson.steps == len(losses(lesson, 0)) == 3
    assert losses(scene.lesson(live=live, **all_of_it), 2) == losses(lesson, 2)
    assert losses(lesson, 3) != losses(lesson, 2)


def test_a_clip_of_one_window_is_the_same_live_and_stored(scene: Scene) -> None:
    assert losses(scene.lesson(live=True), 0) == pytest.approx(losses(scene.lesson(), 0), abs=2e-3)


def test_equal_weights_bring_each_stretch_at_most_once(scene: Scene) -> None:
    lesson = scene.lesson(batch=3)
    held = set(np.flatnonzero(scene.stretches.held_out()))
    drawn = [lesson.draw(epoch).ravel().tolist() for epoch in range(20)]
    for epoch in drawn:
        assert len(set(epoch)) == len(epoch) == 12
        assert not held & set(epoch)
    assert len({tuple(epoch) for epoch in drawn}) == 20
    assert len({row for epoch in drawn for row in epoch}) == 14  # none is left out for good


def test_weights_say_how_often_a_stretch_is_drawn(tmp_path: Path) -> None:
    scene = Scene(tmp_path, tone1=5.0, noise2=0.5)
    counts, lesson = Counter[str](), scene.lesson()
    for epoch in range(200):
        for row in lesson.draw(epoch).ravel():
            counts[scene.stretches.recordings.found[row].file.path.stem] += 1
    usual = np.median([n for name, n in counts.items() if name not in ("tone1", "noise2")])
    held = {scene.stretches.recordings.found[i].file.path.stem
            for i in np.flatnonzero(scene.stretches.held_out())}  # fmt: skip
    assert not held & {"tone1", "noise2"}
    assert counts["tone1"] / usual == pytest.approx(5.0, rel=0.05)
    assert counts["noise2"] / usual == pytest.approx(0.5, rel=0.15)


def test_the_student_hears_the_gain_and_the_teacher_does_not(scene: Scene) -> None:
    heard: list[torch.Tensor] = []
    for options in ({}, {"gain_db": 12.0}):
        lesson = scene.lesson(live=True, **options)
        model = lesson._model
        original = model.mel.forward
        model.mel.forward = lambda x, original=original: (heard.append(x), original(x))[1]
        asked: list[torch.Tensor] = []
        embed = scene.stretches.embed
        lesson._stretches.embed = lambda *a, embed=embed, asked=asked: (  # type: ignore[method-assign]
            asked.append(embed(*a)), asked[-1])[1]  # fmt: skip
        next(lesson.losses(0))
        heard.append(asked[0])
        lesson._stretches.embed = embed  # type: ignore[method-assign]
    plain, plain_target, loud, loud_target = heard
    assert torch.equal(plain_target, loud_target)
    ratio = loud.square().mean(1).sqrt() / plain.square().mean(1).sqrt()
    assert ratio.min() > 10 ** (-12 / 20) - 1e-6
    assert ratio.max() < 10 ** (12 / 20) + 1e-6
    assert ratio.max() / ratio.min() > 1.1


def test_the_teacher_hears_the_mixture(scene: Scene) -> None:
    """What both hear is mixed of the same stretches in the same shares."""
    lesson = scene.lesson(live=True, mix=1.0)
    student, teacher = lesson._model, scene.teacher.model
    heard: dict[str, torch.Tensor] = {}
    for name, model in (("student", student), ("teacher", teacher)):
        mel = model.mel.forward
        model.mel.forward = lambda x, mel=mel, name=name: (heard.update({name: x}), mel(x))[1]
    next(lesson.losses(0))
    ours, theirs = heard["student"].numpy(), heard["teacher"].numpy()
    count = round(scene.stretches.seconds * tiny.RATE)
    at, then = np.arange(ours.shape[1]) / tinydistil.RATE, np.arange(count) / tiny.RATE
    same = np.stack([np.interp(at, then, row[:count]) for row in theirs])
    agree = [np.corrcoef(a, b)[0, 1] for a, b in zip(ours, same, strict=True)]
    assert np.mean(agree) > 0.93  # of what the student's band has
    plain = scene.lesson(live=True)
    assert losses(plain, 0) != losses(scene.lesson(live=True, mix=1.0), 0)


def test_held_out_cosine_is_that_of_the_held_out_clips(scene: Scene) -> None:
    lesson = scene.lesson()
    rows = np.flatnonzero(scene.stretches.held_out())
    cosines = []
    for row in rows:
        window = scene.stretches.for_student(int(row), float(scene.stretches.start[row]))
        with torch.no_grad():
            out = lesson._model.eval().embed_audio(torch.from_numpy(window)[None])[0].numpy()
        cosines.append(float(out @ scene.targets[row].astype(np.float32)))
    assert lesson.held_out() == pytest.approx(np.mean(cosines), abs=1e-3)


def test_fewer_stretches_than_a_batch_are_refused(scene: Scene) -> None:
    with pytest.raises(ClapError, match=r"audio\.batch_size is 15, but .* only 14 stretches"):
        scene.lesson(batch=15)
