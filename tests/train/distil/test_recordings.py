"""Unlabelled recordings: which are found, and that both models hear the same stretch of them."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from clap_export.checkpoints import load
from runtime.errors import ClapError
from tests import tiny
from tests.tiny import bridge as tinybridge
from tests.tiny import distil as tinydistil
from train.config.data import ListingConfig
from train.distil.recordings import Found, Recordings, find
from train.distil.stretches import Stretches

TEACHER = tiny.config().audio


def heard(folder: Path, lengths: list[float], rate: int = tiny.RATE) -> list[Found]:
    """Tones that rise from recording to recording, of some lengths in seconds."""
    for i, seconds in enumerate(lengths):
        t = np.arange(round(seconds * rate)) / rate
        sound = 0.4 * np.sin(2 * np.pi * (300 + 100 * i) * t) * np.sin(7 * t)
        soundfile.write(folder / f"{i}.wav", sound, rate, subtype="PCM_16")
    return find((), (str(folder),))


def test_folders_globs_and_files_are_searched(tmp_path: Path) -> None:
    for name in ("b/deep/2.WAV", "b/1.flac", "b/notes.txt", "c/3.ogg", "c/4.wav"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    asked = (str(tmp_path / "c" / "*.wav"), str(tmp_path / "b"), str(tmp_path / "c" / "4.wav"))
    names = [str(f.file.path.relative_to(tmp_path)) for f in find((), asked)]
    assert names == ["c/4.wav", "b/1.flac", "b/deep/2.WAV"]
    for nothing in ("none", "b/*.aiff", "b/deep/none"):
        with pytest.raises(ClapError, match=f"no audio file behind .*{nothing.split('/')[-1][1:]}"):
            find((), (str(tmp_path / nothing),))


def test_a_listing_needs_no_label_and_none_is_read(tmp_path: Path) -> None:
    path = tmp_path / "clips.csv"
    path.write_text("file,fold,take,class\na.wav,1,x,dog\nb.wav,2,x,\nc.wav,1,y,\nd.wav,1,y,\n")
    plain = ListingConfig(str(path), "file", weight=3.0)
    found = find((plain,), ())
    assert [f.file.path.name for f in found] == ["a.wav", "b.wav", "c.wav", "d.wav"]
    assert {f.weight for f in found} == {3.0}
    labelled = replace(plain, names=("class",), labels=("class",), rename={"dog": "cat"})
    assert find((labelled,), ()) == found
    some = find((replace(plain, exclude={"fold": ("2",)}, recording="take"),), ())
    assert [(f.file.path.name, f.recording) for f in some] == [
        ("a.wav", "x"), ("c.wav", "y"), ("d.wav", "y"),
    ]  # fmt: skip
    # A recording of two clips counts as the root of two; the sum is kept.
    ratio = some[0].weight / some[1].weight
    assert ratio == pytest.approx(2**0.5)
    assert sum(f.weight for f in some) == pytest.approx(9.0)


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    found = heard(tmp_path, [0.5, 0.5])
    (tmp_path / "0.wav").write_bytes(b"no sound")
    recordings = Recordings(found, [TEACHER])
    assert [f.file.path.name for f in recordings.found] == ["1.wav"]
    (tmp_path / "1.wav").unlink()
    with pytest.raises(ClapError, match="none of the 2 audio files could be read; the first: "):
        Recordings(found, [TEACHER])


@pytest.mark.parametrize(
    "kind",
    [ValueError, TypeError, KeyError, OSError, MemoryError, RecursionError, struct.error,
     UnicodeDecodeError, StopIteration, ZeroDivisionError, SystemError],
)  # fmt: skip
def test_whatever_one_file_raises_the_others_are_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    found = heard(tmp_path, [0.5, 0.5])
    real = soundfile.SoundFile

    def odd(source: Any, *arguments: Any, **options: Any) -> Any:
        if "0.wav" in str(getattr(source, "name", source)):
            raise kind(*(("utf-8", b"x", 0, 1, "odd") if kind is UnicodeDecodeError else ("odd",)))
        return real(source, *arguments, **options)

    monkeypatch.setattr(soundfile, "SoundFile", odd)
    assert [f.file.path.name for f in Recordings(found, [TEACHER]).found] == ["1.wav"]


def test_patterns_that_cannot_be_looked_for(tmp_path: Path) -> None:
    for pattern in ("a\0b", "x" * 300, str(tmp_path / "[")):
        with pytest.raises(ClapError, match=r"audio\.files: "):
            find((), (pattern,))


def test_both_models_hear_the_same_stretch(tmp_path: Path) -> None:
    recordings = Recordings(heard(tmp_path, [3.0], 48_000), [tinydistil.SPEC, TEACHER])
    stated, _ = soundfile.read(tmp_path / "0.wav")
    for spec in (tinydistil.SPEC, TEACHER):
        found = recordings.cut(0, 1.25, 0.75, spec)
        assert found.dtype == np.float32
        assert len(found) == 0.75 * spec.sample_rate
        # The source at the same instants: the tone is far below either model's band edge.
        at = np.arange(len(found)) / spec.sample_rate + 1.25
        assert np.abs(found - stated[np.round(at * 48_000).astype(int)]).max() < 2e-3
    # A stretch that would end beyond the end is moved back; a short recording is given whole.
    end = recordings.cut(0, 2.9999, 0.75, TEACHER)
    assert np.array_equal(end, recordings.cut(0, 2.25, 0.75, TEACHER))
    assert len(recordings.cut(0, 0.0, 9.0, TEACHER)) == 3 * TEACHER.sample_rate


def test_sample_values_are_those_of_the_models_family(tmp_path: Path) -> None:
    found = heard(tmp_path, [0.5])
    trip = replace(TEACHER, int16_round_trip=True)
    recordings = Recordings(found, [trip, TEACHER])
    stated, _ = soundfile.read(tmp_path / "0.wav", dtype="float32")
    assert np.array_equal(recordings.cut(0, 0.0, 0.5, TEACHER), stated)
    levels = recordings.cut(0, 0.0, 0.5, trip) * np.float32(32767)
    assert np.abs(levels - np.trunc(stated * np.float32(32767))).max() < 1e-2


@pytest.fixture
def stretches(tmp_path: Path) -> Stretches:
    model = load(tinydistil.teacher(tmp_path)).model
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    recordings = Recordings(heard(sounds, [0.3, 2.0, 0.75]), [tinydistil.SPEC, TEACHER])
    return Stretches(recordings, tinydistil.SPEC, model)


def test_stretches_are_deployments_windows_of_the_student(stretches: Stretches) -> None:
    assert stretches.owner.tolist() == [0, 1, 1, 1, 2]
    assert np.allclose(stretches.start, [0, 0, 0.75, 1.25, 0])
    drawn = [stretches.anywhere(1, np.random.default_rng(i)) for i in range(200)]
    assert 0 <= min(drawn) < 0.05
    assert 1.2 < max(drawn) <= 1.25
    assert stretches.anywhere(0, np.random.default_rng(0)) == 0


def test_the_teacher_embeds_a_stretch_as_a_clip_of_that_length(stretches: Stretches) -> None:
    model = load(stretches.recordings.found[0].file.path.parents[1] / "teacher0.safetensors").model
    heard = [stretches.for_teacher(0, 0.0), stretches.for_teacher(2, 0.75)]
    found = stretches.embed(heard).numpy()
    for row, (index, start, seconds) in enumerate([(0, 0.0, 0.3), (1, 0.75, 0.75)]):
        samples, _ = soundfile.read(stretches.recordings.found[index].file.path, dtype="float32")
        first = round(start * tiny.RATE)
        clip = samples[first : first + round(seconds * tiny.RATE)]
        window = np.resize(clip, tiny.WINDOW)  # the rule 'repeat'
        with torch.no_grad():
            want = model.embed_audio(torch.from_numpy(window)[None])[0].numpy()
        assert np.abs(found[row] - want).max() < 1e-5


def test_a_recording_is_held_out_whole_and_always_the_same(tmp_path: Path) -> None:
    found = heard(tmp_path, [2.0] * 30)
    takes = [replace(f, recording=f"take {i // 2}") for i, f in enumerate(found)]
    model = load(tinydistil.teacher(tmp_path / "model")).model
    held = [
        Stretches(Recordings(order, [tinydistil.SPEC, TEACHER]), tinydistil.SPEC, model)
        for order in (takes, takes[::-1])
    ]
    names = [{s.recordings.found[i].file.path.name for i in s.owner[s.held_out()]} for s in held]
    assert names[0] == names[1]
    assert len(names[0]) == 2  # both files of one take, of 15
    assert [int(s.held_out().sum()) for s in held] == [6, 6]


def test_a_teacher_that_hears_in_patches_hears_a_stretch_as_it_is(tmp_path: Path) -> None:
    model, spec = tinybridge.yamnet(), replace(tinydistil.SPEC, window_samples=2 * tinydistil.RATE)
    recordings = Recordings(heard(tmp_path, [0.4, 2.5]), [spec, model.config.audio])
    stretches = Stretches(recordings, spec, model, 1.0)
    assert stretches.samples == tinydistil.RATE
    assert stretches.owner.tolist() == [0, 1, 1, 1]
    found = stretches.embed(stretches.on_grid(np.arange(4)))
    for row, start in enumerate([0.0, 0.0, 1.0, 1.5]):
        x = recordings.cut(stretches.owner[row], start, 1.0, model.config.audio)
        sound = torch.from_numpy(np.resize(x, model.config.audio.sample_rate))
        with torch.no_grad():
            want = model.embed_audio(sound[None])[0]
        torch.testing.assert_close(found[row], want, atol=1e-5, rtol=0)
    assert stretches.key("space") != Stretches(recordings, spec, model, 1.5).key("space")


@pytest.mark.parametrize("seconds", [0.5, 2.5])
def test_stretches_too_short_or_too_long_are_refused(tmp_path: Path, seconds: float) -> None:
    model, spec = tinybridge.yamnet(), replace(tinydistil.SPEC, window_samples=2 * tinydistil.RATE)
    recordings = Recordings(heard(tmp_path, [2.5]), [spec, model.config.audio])
    with pytest.raises(
        ClapError, match=r"audio\.seconds is \d\.5: .* 2 s of .* least the 0\.975 s"
    ):
        Stretches(recordings, spec, model, seconds)
