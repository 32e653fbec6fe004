"""Channels one after the other, from arrays, files and chunks."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from runtime.audio import Chunks
from runtime.audio.faithful import resampler
from runtime.audio.faithful import strung as module
from runtime.audio.stream import Stream
from runtime.errors import AudioError

RATE = 16_000


def stereo(seconds: float = 1.3, channels: int = 2) -> np.ndarray:
    """float32 ``[channels, n]`` on the grid of 16 bits."""
    rng = np.random.default_rng(channels)
    integers = rng.integers(-30_000, 30_000, (channels, round(seconds * RATE)))
    return (integers / 32_768).astype(np.float32)


def heard(source: object, sample_rate: int | None = None, **options: object) -> np.ndarray:
    with Stream(source, sample_rate, channels="strung", **options) as stream:  # type: ignore[arg-type]
        return np.concatenate(list(stream.blocks()))


def wav(samples: np.ndarray) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples.T, RATE, "PCM_16", format="WAV")
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_every_kind_of_source_gives_one_channel_after_the_other(
    channels: int, tmp_path: Path
) -> None:
    samples = stereo(channels=channels)
    wanted = samples.reshape(-1)  # as msclap does
    (tmp_path / "a.wav").write_bytes(wav(samples))
    pieces = [samples[:, i : i + 777] for i in range(0, samples.shape[1], 777)]
    for source, rate in (
        (samples, RATE),
        (wav(samples), None),
        (tmp_path / "a.wav", None),
        (Chunks(pieces, RATE), None),
    ):
        assert np.array_equal(heard(source, rate), wanted)


def test_each_channel_is_resampled_alone() -> None:
    samples = stereo(0.5)
    parts = []
    for channel in samples:
        made = resampler("torchaudio", RATE, 44_100)
        parts += [made.push(channel), made.finish()]
    found = heard(samples, RATE, rate=44_100, resampler="torchaudio")
    assert np.array_equal(found, np.concatenate(parts))


def test_later_channels_wait_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IN_MEMORY", 1_000)
    samples = stereo()
    assert np.array_equal(heard(samples, RATE), samples.reshape(-1))


def test_a_sample_of_the_second_channel_that_is_not_finite_is_named() -> None:
    samples = stereo()
    samples[1, 500] = np.nan
    with pytest.raises(AudioError, match=r"NaN or infinite samples \(1, the first at index 500\)"):
        heard(samples, RATE)


def test_what_breaks_off_is_used_up_to_there_in_both_channels() -> None:
    samples = stereo()
    samples[1, RATE:] = np.nan
    pieces = [samples[:, i : i + 1_000] for i in range(0, samples.shape[1], 1_000)]
    with Stream(Chunks(pieces, RATE), channels="strung", keep_from=0.5) as stream:
        found = np.concatenate(list(stream.blocks()))
        assert "breaks off" in str(stream.warning)
    assert np.array_equal(found, samples[:, :RATE].reshape(-1))


def test_channels_that_come_and_go_are_refused() -> None:
    pieces = [stereo(0.1), stereo(0.1, channels=1)]
    with pytest.raises(AudioError, match="channels"):
        heard(Chunks(pieces, RATE))


def test_the_mean_is_still_the_mean() -> None:
    samples = stereo()
    with Stream(samples, RATE) as stream:
        assert np.array_equal(np.concatenate(list(stream.blocks())), samples.mean(axis=0))
