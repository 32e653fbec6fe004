"""Training windows are cut from the clips as said, and clips that cannot be read are left out."""

from __future__ import annotations

import dataclasses
import logging
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from runtime.errors import ClapError
from tests import tiny
from train.config.data import AugmentConfig
from train.data.clips import ClipStore, Draws
from train.data.listing import Clip
from train.machine.distributed import Ranks

PLAIN = AugmentConfig()
SPEC = dataclasses.replace(tiny.config().audio, window_samples=1000, hop_samples=1000)


def ramp(n: int) -> np.ndarray:
    """Every sample another value, on the int16 grid, so that a window tells where it is from."""
    return (np.arange(1, n + 1) / 32768).astype(np.float32)


def clip(path: Path, samples: np.ndarray, weight: float = 1.0) -> Clip:
    return Clip(tiny.write_wav(path, samples), ("x",), (), "x", weight)


def positions(window: np.ndarray) -> np.ndarray:
    """Undo :func:`ramp`: index in the clip of each sample."""
    return np.round(window * 32768).astype(int) - 1


def test_a_longer_clip_is_cropped_inside_everywhere(tmp_path: Path) -> None:
    store = ClipStore([clip(tmp_path / "a.wav", ramp(1010))], SPEC)
    rng = np.random.default_rng(0)
    starts = set()
    for _ in range(200):
        window = store.window(0, rng, PLAIN)
        assert window.shape == (1000,)
        assert window.dtype == np.float32
        at = positions(window)
        assert (np.diff(at) == 1).all()
        starts.add(int(at[0]))
    assert starts == set(range(11))  # first and last place included


def test_a_shorter_clip_is_repeated_from_any_phase(tmp_path: Path) -> None:
    store = ClipStore([clip(tmp_path / "a.wav", ramp(7))], SPEC)
    rng = np.random.default_rng(0)
    phases = set()
    for _ in range(100):
        at = positions(store.window(0, rng, PLAIN))
        assert np.array_equal(at, (at[0] + np.arange(1000)) % 7)
        phases.add(int(at[0]))
    assert phases == set(range(7))


def test_a_clip_of_the_windows_length_or_one_sample(tmp_path: Path) -> None:
    clips = [clip(tmp_path / "a.wav", ramp(1000)), clip(tmp_path / "b.wav", ramp(1))]
    store, rng = ClipStore(clips, SPEC), np.random.default_rng(0)
    at = positions(store.window(0, rng, PLAIN))
    assert np.array_equal(at, (at[0] + np.arange(1000)) % 1000)
    assert (positions(store.window(1, rng, AugmentConfig(speed=0.1))) == 0).all()


def test_windows_hold_the_files_samples(tmp_path: Path) -> None:
    samples = tiny.waveforms(1, 1000)[0].numpy()
    store = ClipStore([clip(tmp_path / "a.wav", samples)], SPEC)
    window = store.window(0, np.random.default_rng(0), PLAIN)
    best = min(np.abs(np.roll(window, k) - samples).max() for k in range(1000))
    assert best <= 0.5 / 32768 + 1e-7  # kept as int16


def test_files_are_mixed_down_and_resampled(tmp_path: Path) -> None:
    import soundfile

    t = np.arange(16_000) / 16_000
    sine = 0.5 * np.sin(2 * np.pi * 440 * t)
    soundfile.write(tmp_path / "a.wav", np.stack([sine, np.zeros_like(sine)], 1), 16_000)
    store = ClipStore([Clip(tmp_path / "a.wav", ("x",), (), "x", 1.0)], SPEC)
    want = 0.25 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)
    assert abs(len(store.waveform(0)) - 8000) <= 1
    assert np.abs(store.waveform(0)[200:7800] - want[200:7800]).max() < 2e-3


def test_gain_is_uniform_in_decibels_within_its_bounds(tmp_path: Path) -> None:
    store = ClipStore([clip(tmp_path / "a.wav", np.full(1000, 0.1, np.float32))], SPEC)
    rng = np.random.default_rng(0)
    gains = [
        20 * np.log10(store.window(0, rng, AugmentConfig(gain_db=6.0))[0] / 0.1)
        for _ in range(2000)
    ]
    assert -6.01 < min(gains) < -5.9
    assert 5.9 < max(gains) < 6.01
    assert abs(np.mean(gains)) < 5 * 6 / np.sqrt(3 * 2000)
    quarters = np.histogram(gains, 4, (-6.01, 6.01))[0] / 2000
    assert np.abs(quarters - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 2000)


def test_speed_moves_the_pitch_within_its_bounds(tmp_path: Path) -> None:
    t = np.arange(tiny.RATE) / tiny.RATE
    sine = (0.5 * np.sin(2 * np.pi * 1000 * t)).astype(np.float32)
    spec = tiny.config().audio
    store, rng = ClipStore([clip(tmp_path / "a.wav", sine)], spec), np.random.default_rng(0)
    found = []
    for _ in range(60):
        window = store.window(0, rng, AugmentConfig(speed=0.1))
        assert window.shape == (spec.window_samples,)
        found.append(np.abs(np.fft.rfft(window * np.hanning(len(window)))).argmax())
    # 1000 Hz played at 0.9 to 1.1 of its speed; bins are 1 Hz wide, repeats blur a few.
    assert 895 < min(found) < 920
    assert 1080 < max(found) < 1105


def test_clips_are_drawn_by_weight(tmp_path: Path) -> None:
    clips = [clip(tmp_path / f"{w}.wav", ramp(5), w) for w in (3.0, 1.0, 0.0)]
    store = ClipStore(clips, SPEC)
    drawn = store.draw(np.random.default_rng(0), 10_000)
    shares = np.bincount(drawn, minlength=3) / 10_000
    assert np.abs(shares[:2] - [0.75, 0.25]).max() < 5 * np.sqrt(0.75 * 0.25 / 10_000)
    assert shares[2] == 0


def test_files_that_cannot_be_read_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = [clip(tmp_path / f"{i}.wav", ramp(10 + i), weight=i + 1.0) for i in range(2)]
    bad = [
        Clip(tmp_path / "missing.wav", ("x",), (), "x", 9.0),
        Clip(tmp_path / "noise.wav", ("x",), (), "x", 9.0),
        clip(tmp_path / "empty.wav", np.zeros(0, np.float32)),
        clip(tmp_path / "nan.wav", np.full(10, np.nan, np.float32)),
    ]
    (tmp_path / "noise.wav").write_bytes(b"RIFF but no audio")
    with caplog.at_level(logging.WARNING):
        given = [bad[0], good[0], bad[1], bad[2], good[1], bad[3]]
        store = ClipStore(given, SPEC, bad_share=0.9)
    assert store.clips == good
    assert [len(samples) for samples in store.samples] == [10, 11]
    assert np.allclose(store.probability, [1 / 3, 2 / 3])
    assert len(store.bad) == 4
    for gone in bad:
        reason = store.bad[str(gone.path)]
        assert gone.path.name in reason
        assert f"left out: {reason}" in caplog.text


def test_no_clip_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClapError, match=r"none of the 1 clips could be read.*missing\.wav"):
        ClipStore([Clip(tmp_path / "missing.wav", ("x",), (), "x", 1.0)], SPEC)


def test_full_scale_does_not_wrap_around(tmp_path: Path) -> None:
    samples = np.array([1.0, -1.0, 1.5, -1.5, 0.0], np.float32)
    store = ClipStore([clip(tmp_path / "a.wav", samples)], SPEC)
    assert store.samples[0].tolist() == [32767, -32768, 32767, -32768, 0]


@pytest.mark.parametrize("memory", [None, 0])
@pytest.mark.parametrize("kind", ["wav", "aiff"])
def test_a_file_that_was_cut_is_used_as_far_as_it_goes_and_told_of(
    kind: str, memory: int | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """libsndfile reads the head of it and says nothing."""
    whole, cut = tmp_path / f"whole.{kind}", tmp_path / f"cut.{kind}"
    soundfile.write(whole, ramp(4000), tiny.RATE, subtype="PCM_16")
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) // 10])
    clips = [Clip(path, ("x",), (), "x", 1.0) for path in (whole, cut)]
    with caplog.at_level(logging.WARNING):
        store = ClipStore(clips, SPEC, memory=memory)
    assert list(store.damaged) == [str(cut)]
    assert re.search("header states 800[08] bytes of samples", store.damaged[str(cut)])
    assert store.report()["damaged"] == [{"path": str(cut), "reason": store.damaged[str(cut)]}]
    assert f"used as far as it goes: '{cut}'" in caplog.text
    length = store.samples.length(1)
    assert 300 < length < 400
    assert np.array_equal(store.samples[1], store.samples[0][:length])


def test_clips_take_turns_wherever_a_run_was_resumed(tmp_path: Path) -> None:
    """Seven clips in batches of three: each once in seven rows, in another order in each turn."""
    clips = [clip(tmp_path / f"{i}.wav", ramp(5 + i)) for i in range(7)]
    store = ClipStore(clips, SPEC)
    drawn: list[int] = []
    for epoch in range(7):
        draws = Draws(5, epoch, 3, AugmentConfig(), turns=2)
        drawn += [int(i) for batch in store.batches(draws, range(2)) for i in batch.indices]
    turns = [drawn[start : start + 7] for start in range(0, 42, 7)]
    assert all(sorted(turn) == list(range(7)) for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1
    again = ClipStore(clips, SPEC).batches(Draws(5, 4, 3, AugmentConfig(), turns=2), range(1, 2))
    assert [int(i) for batch in again for i in batch.indices] == drawn[27:30]
    ranks = [
        next(store.batches(Draws(5, 4, 3, AugmentConfig(), 2), range(1, 2), Ranks(r, 2))).indices
        for r in (0, 1)
    ]
    assert [list(r) for r in ranks] == [[drawn[27], drawn[29]], [drawn[28]]]
