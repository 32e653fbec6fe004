"""Policies that match vectors which others have stored, each against its rule in numpy."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from runtime import Encoder
from tests.tiny import bundle as tinybundle

WINDOW = tinybundle.WINDOW
LENGTHS = (900, WINDOW, WINDOW + 1, 2 * WINDOW - 1, 3 * WINDOW, 41_234)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tinybundle.build(tmp_path_factory.mktemp("presets") / "bundle")


def found(folder: Path, windows: str, samples: np.ndarray) -> np.ndarray:
    with Encoder(folder, windows=windows) as encoder:
        return encoder.embed_audio(samples, tinybundle.RATE)[0]


def filled(samples: np.ndarray) -> np.ndarray:
    return np.resize(samples, WINDOW) if len(samples) < WINDOW else samples


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("n", LENGTHS)
def test_windows_back_to_back_without_the_tail_and_the_mean_of_raw_vectors(
    folder: Path, n: int
) -> None:
    """clapback's rule (clapback-embed 0.1.0, chunking.py and _pool)."""
    samples = filled(tinybundle.clip(n, n))
    whole = [samples[i : i + WINDOW] for i in range(0, len(samples) - WINDOW + 1, WINDOW)]
    wanted = unit(np.mean([tinybundle.slow_raw_vector(window) for window in whole], axis=0))
    assert found(folder, "back-to-back", tinybundle.clip(n, n)) @ wanted > 1 - 1e-6
    if len(whole) > 2:  # and it is not the mean of unit vectors
        other = unit(np.mean([tinybundle.slow_audio_embedding(w) for w in whole], axis=0))
        assert wanted @ other < 1 - 1e-6


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("n", LENGTHS)
def test_windows_spread_over_the_recording(folder: Path, n: int, count: int) -> None:
    samples = filled(tinybundle.clip(n, n))
    room = len(samples) - WINDOW
    places = [room // 2] if count == 1 else [room * i // (count - 1) for i in range(count)]
    rows = [tinybundle.slow_audio_embedding(samples[i : i + WINDOW]) for i in dict.fromkeys(places)]
    wanted = unit(np.mean(rows, axis=0))
    assert found(folder, f"spaced:{count}", tinybundle.clip(n, n)) @ wanted > 1 - 1e-6


def planned(seconds: float, count: int, window: float) -> list[float]:
    """Where Music Assistant's windows start, in seconds (sonic_analysis, September 2026)."""
    if seconds < window:
        return [0.0]
    if seconds < 45.0 + window:
        return [(seconds - window) / 2]
    fitting = int((seconds - window - 45.0) // window) + 1
    count = max(1, min(count, fitting))
    return [45.0] if count == 1 else list(np.linspace(45.0, seconds - window, count))


@pytest.mark.parametrize("count", [1, 3, 8])
@pytest.mark.parametrize("seconds", [0.25, 0.5, 1.0, 45.0, 45.4375, 45.5, 46.5, 47.0, 61.03125])
def test_windows_past_the_intro(folder: Path, seconds: float, count: int) -> None:
    """Music Assistant's rule: the mean of raw vectors of 1, 3 or 8 windows."""
    samples = tinybundle.clip(count, round(seconds * tinybundle.RATE))
    places = planned(seconds, count, WINDOW / tinybundle.RATE)
    cut = [samples[int(at * tinybundle.RATE) :][:WINDOW] for at in places]
    wanted = unit(np.mean([tinybundle.slow_raw_vector(filled(x)) for x in cut], axis=0))
    assert found(folder, f"past-intro:{count}", samples) @ wanted > 1 - 1e-6
    if count == 1:
        assert np.array_equal(
            found(folder, "past-intro", samples), found(folder, "past-intro:1", samples)
        )
    if seconds > 61:  # a file of this format is sought in
        wav = tinybundle.wav(samples)
        with Encoder(folder, windows=f"past-intro:{count}") as encoder:
            assert encoder.embed_audio(wav)[0] @ wanted > 1 - 1e-6


def test_the_resampler_of_the_package_belongs_to_its_family(tmp_path: Path) -> None:
    source = dataclasses.replace(tinybundle.MANIFEST.source, family="msclap")
    theirs = tinybundle.build(tmp_path / "theirs", source=source)
    ours = tinybundle.build(tmp_path / "ours")
    for folder, resampler in ((theirs, "torchaudio"), (ours, "soxr")):
        with Encoder(folder, windows="past-intro:3") as encoder:
            assert encoder.policy.quirks.resampler == resampler
            assert encoder.policy.quirks.channels == "mean"


@pytest.mark.parametrize("n", LENGTHS)
def test_one_window_at_the_start_or_in_the_middle(folder: Path, n: int) -> None:
    """Where LAION's and transformers' single crop may fall."""
    samples = filled(tinybundle.clip(n, n))
    for windows, first in (("head", 0), ("middle", (len(samples) - WINDOW) // 2)):
        wanted = tinybundle.slow_audio_embedding(samples[first : first + WINDOW])
        assert found(folder, windows, tinybundle.clip(n, n)) @ wanted > 1 - 1e-6
