"""What a picture is made of: power per band and column, scores per label and column."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from clap_export.timelines.activity import Activity
from clap_export.timelines.grid import Grid
from clap_export.timelines.picture import Picture
from clap_export.timelines.spectrum import Spectrum, to_hertz, to_mel
from runtime import ClapError, Segment
from tests.clap_export.timelines.made import ODD, segment, timeline

RATE = 16_000


def sine(hertz: float, seconds: float, rate: int = RATE) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate).astype(np.float32)


def test_mel_and_back() -> None:
    hertz = np.array([0.0, 100.0, 999.0, 1000.0, 4000.0, 20000.0])
    np.testing.assert_allclose(to_hertz(to_mel(hertz)), hertz, rtol=1e-12)
    librosa = [0.0, 1.5, 14.985, 15.0, 35.16301, 58.57]  # librosa.hz_to_mel, Slaney's
    np.testing.assert_allclose(to_mel(hertz), librosa, atol=1e-2)


@pytest.mark.parametrize("hertz", [440, 1000, 3000])
def test_a_sine_is_where_it_belongs_and_of_0_db(hertz: float) -> None:
    spectrum = Spectrum(RATE, 50, 8000)
    spectrum.push(sine(hertz, 2))
    spectrum.finish()
    middle = spectrum.decibels()[20:80].mean(axis=0)
    best = int(middle.argmax())
    assert spectrum.edges[best] < hertz < spectrum.edges[best + 2]
    assert -3 < middle[best] < 3
    assert middle[np.abs(np.arange(len(middle)) - best) > 8].max() < -40


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 18])
def test_blocks_of_any_size_are_the_same_picture(size: int) -> None:
    samples = np.random.default_rng(0).standard_normal(9000).astype(np.float32)
    found = []
    for step in (size, len(samples)):
        spectrum = Spectrum(RATE, 50, 8000)
        for at in range(0, len(samples), step):
            spectrum.push(samples[at : at + step])
        spectrum.finish()
        found.append(spectrum.decibels())
    np.testing.assert_allclose(*found, atol=1e-9)


def test_columns_double_and_keep_what_they_hold() -> None:
    times, values = np.arange(1000) / 10, np.random.default_rng(0).random((1000, 2))
    total, best = Grid(2, 0.1, np.add, 0.0, 100), Grid(2, 0.1, np.fmax, np.nan, 100)
    for i in range(0, 1000, 37):
        total.add(times[i : i + 37], values[i : i + 37])
        best.add(times[i : i + 37], values[i : i + 37])
    assert total.seconds == pytest.approx(1.6)
    assert total.used == 63
    for column in range(63):
        inside = values[16 * column : 16 * column + 16]
        np.testing.assert_allclose(total.values[column], inside.sum(axis=0))
        np.testing.assert_allclose(best.values[column], inside.max(axis=0))


def test_a_rare_sound_stays_to_be_seen_in_a_day() -> None:
    activity = Activity(2)
    for i in range(8640):
        activity.add(segment(10 * i, 10 * i + 10, ("sea", 0.8), ("bell", 0.9 * (i == 4000))))
    bell, sea = activity.best(10)
    assert (bell.label, bell.peak, sea.label) == ("bell", 0.9, "sea")
    (column,) = np.flatnonzero(bell.scores == 0.9)
    assert column * activity.seconds <= 40000 < (column + 1) * activity.seconds
    assert len(bell.scores) <= 1200
    assert np.nanmin(sea.scores) == 0.8


def test_what_was_not_said_of_a_label_is_not_painted() -> None:
    activity = Activity(3)
    activity.add(segment(0, 1, ("a", 0.0)))
    activity.add(segment(2, 3, ("a", 0.5)))
    (row,) = activity.best(5)
    seen = np.isfinite(row.scores)
    assert seen[:64].all()
    assert not seen[64:128].any()
    assert seen[128:].all()


def test_of_a_large_bank_the_best_labels_are_kept() -> None:
    activity = Activity(100_000)
    wanted = {f"label {i}" for i in range(0, 2000, 100)}
    for i in range(2000):
        score = 0.9 if i % 100 == 0 else i / 10_000
        activity.add(segment(i, i + 1, (f"label {i}", score)))
    assert {row.label for row in activity.best(20)} == wanted


def picture(path: Path, samples: np.ndarray, segments: list[Segment], **how: object) -> Path:
    options = {"low": 50, "high": 8000, "labels": 3, "measure": "softmax"} | how
    made = Picture(RATE, **options)  # type: ignore[arg-type]
    for _ in made.hear([samples]):
        pass
    found = timeline(made.see(segments), "a $b$ 雨.wav")
    assert list(found) == segments
    made.draw(found, path, overwrite=False)
    return path


def pixels(path: Path) -> np.ndarray:
    from matplotlib.image import imread

    return imread(path)


@pytest.mark.parametrize("case", ["odd labels", "silence", "no label", "cosine", "short"])
def test_any_recording_is_a_picture(tmp_path: Path, case: str) -> None:
    pytest.importorskip("matplotlib")
    samples = {"silence": np.zeros(RATE, np.float32), "short": sine(440, 0.01)}.get(case)
    samples = sine(440, 3) if samples is None else samples
    seconds = len(samples) / RATE
    scores = [(label, 0.5) for label in ODD] if case == "odd labels" else [("a", -0.1)]
    segments = [segment(0, seconds, *([] if case == "no label" else scores))]
    measure = "cosine" if case == "cosine" else "softmax"
    labels = len(ODD) if case == "odd labels" else 1
    path = picture(tmp_path / "x.png", samples, segments, labels=labels, measure=measure)
    height, width, _ = pixels(path).shape
    assert width == 1800
    assert 400 < height < 1500
    with pytest.raises(ClapError, match="exists"):
        picture(path, samples, segments)


def test_a_picture_shows_when_a_label_was_heard(tmp_path: Path) -> None:
    """Where its row is bright in the pixels, and the spectrogram above it."""
    pytest.importorskip("matplotlib")
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 5 * RATE).astype(np.float32)
    samples = np.concatenate([np.zeros(5 * RATE, np.float32), noise])
    segments = [segment(i, i + 1, ("noise", 1.0 * (i >= 5))) for i in range(10)]
    image = pixels(picture(tmp_path / "x.png", samples, segments, labels=1))
    image = image[:, :1650, :3]  # without the bars
    yellow = np.abs(image - np.array([0.993, 0.906, 0.144])).max(axis=2) < 0.03  # viridis' end
    columns = np.flatnonzero(yellow.sum(axis=0) > 20)
    black = (image.max(axis=2) < 0.02).sum(axis=0) > 200  # magma's beginning
    silent = np.flatnonzero(black)
    assert abs(columns[0] - silent[-1]) < 15  # one begins where the other ends
    assert 0.9 < len(columns) / len(silent) < 1.1


def test_memory_does_not_grow_with_the_recording() -> None:
    peaks = []
    for minutes in (2, 20):
        made = Picture(RATE, 50, 8000, 10, "softmax")
        block = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
        tracemalloc.start()
        for _ in made.hear(block for _ in range(60 * minutes)):
            pass
        for _ in made.see(segment(i, i + 1, ("a", 0.5)) for i in range(60 * minutes)):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + (1 << 20)
