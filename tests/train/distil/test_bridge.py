"""The student of a bridge: a bridge with ears of its own, and the teacher's way of reading."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from clap_export.checkpoints import load, native
from clap_export.model.config import ProjectionConfig
from runtime.errors import ClapError
from tests import tiny
from tests.tiny import bridge as tinybridge
from tests.tiny import distil as tinydistil
from train.config.distil import DistilConfig, TeacherConfig
from train.data.texts import encode
from train.distil.run import run

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> DistilConfig:
    """A bridge to learn from, and clips; nothing has been run."""
    folder = tmp_path_factory.mktemp("bridge")
    teacher = tinybridge.model()
    assert teacher.bridge is not None
    with torch.no_grad():  # tags that one sound has and another has not
        teacher.bridge.head.weight.mul_(20)
    native.save(folder / "teacher.safetensors", teacher, tiny.tokenizer().to_str())
    student = tinydistil.student(embedding_dim=teacher.config.embedding_dim)
    return tinydistil.config(
        folder, teacher=TeacherConfig(str(folder / "teacher.safetensors")), student=student
    )


@pytest.fixture(scope="module")
def learned(config: DistilConfig) -> Path:
    return run(replace(config, audio=replace(config.audio, epochs=12)))


def test_it_learns_to_tell_the_tags(config: DistilConfig, learned: Path) -> None:
    lines = (config.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert losses[-1] < 0.5 * losses[0]
    bridge = load(learned).model.bridge
    theirs = load(config.teacher.checkpoint).model.bridge
    assert bridge is not None
    assert theirs is not None
    assert bridge.config == replace(theirs.config, root=False)
    assert bridge.head.weight.shape != theirs.head.weight.shape  # of a narrower tower


@pytest.mark.parametrize("audio", ["htsat", "yamnet"])
def test_it_learns_of_other_taggers(audio: str, tmp_path: Path) -> None:
    """HTSAT takes windows of one length, YAMNet what there is."""
    teacher = tinybridge.yamnet() if audio == "yamnet" else tinybridge.model(audio)
    native.save(tmp_path / "teacher.safetensors", teacher, tiny.tokenizer().to_str())
    student = tinydistil.student(embedding_dim=teacher.config.embedding_dim)
    spec = replace(student.audio, window_samples=tinydistil.RATE)
    made = tinydistil.config(
        tmp_path, teacher=TeacherConfig(str(tmp_path / "teacher.safetensors")),
        student=replace(student, audio=spec),
    )  # fmt: skip
    run(replace(made, audio=replace(made.audio, epochs=6, ema=0.5, seconds=1.0)))
    lines = (made.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert losses[-1] < losses[0]


def test_it_reads_as_the_teacher_does(config: DistilConfig, learned: Path) -> None:
    given = encode(tiny.tokenizer(), tiny.SENTENCES, load(learned).model.config.text_encoder)
    with torch.no_grad():
        ours = load(learned).model.embed_text(**given)
        theirs = load(config.teacher.checkpoint).model.embed_text(**given)
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_a_text_tower_of_its_own_is_refused(config: DistilConfig) -> None:
    own = tinydistil.with_text(config.folder.parent)
    student = replace(own.student, embedding_dim=config.student.embedding_dim)
    with pytest.raises(ClapError, match="is a bridge, whose texts are read by its own encoder"):
        run(replace(own, teacher=config.teacher, student=student))


def test_it_begins_with_a_finished_ear(config: DistilConfig, learned: Path, tmp_path: Path) -> None:
    """At a rate of next to nothing the first weights are the last."""
    student = replace(config.student, start=str(learned))
    slow = replace(config.audio, epochs=1, learning_rate=1e-12)
    again = load(run(replace(config, student=student, audio=slow, out=str(tmp_path / "out"))))
    for name, value in load(learned).model.audio_encoder.named_parameters():
        found = again.model.audio_encoder.get_parameter(name)
        torch.testing.assert_close(found, value, rtol=0, atol=1e-6)
    assert "; begun with pupil, licence: MIT" in again.model.config.licence
    # What it began with is known by its content: it may be moved, and not replaced.
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(learned.read_bytes())
    begun = replace(
        config, student=replace(student, start=str(moved)), audio=slow, out=str(tmp_path / "out")
    )
    run(begun)
    native.save(moved, again.model, again.tokenizer)
    with pytest.raises(ClapError, match=r"last\.pt is the state of a run with another config"):
        run(begun)


def test_another_ear_to_begin_with_is_refused(config: DistilConfig, tmp_path: Path) -> None:
    tiny.save(tmp_path / "other.safetensors")
    student = replace(config.student, start=str(tmp_path / "other.safetensors"))
    with pytest.raises(ClapError, match="another audio tower or frontend"):
        run(replace(config, student=student, out=str(tmp_path / "out")))


def test_a_dimension_that_is_not_the_bridges_is_refused(config: DistilConfig) -> None:
    student = replace(
        config.student, embedding_dim=tiny.DIM, audio_projection=ProjectionConfig("linear")
    )
    with pytest.raises(ClapError, match=r"set it to \d+"):
        run(replace(config, student=student))
