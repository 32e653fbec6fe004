"""Any recording to float32 mono, and clear refusals of what is none."""

from __future__ import annotations

import dataclasses
import io
import math
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from runtime import audio
from runtime.errors import AudioError, AudioWarning
from tests.places import SHARED_AUDIO
from tests.tiny import bundle as tinybundle

SPEC = tinybundle.MANIFEST.audio
EXAMPLES = SHARED_AUDIO / "examples"


def pcm(seed: int = 0, n: int = 4000) -> np.ndarray:
    return np.random.default_rng(seed).integers(-30_000, 30_000, n).astype(np.int16)


def encode(samples: np.ndarray, rate: int = 16_000, **how: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **{"format": "WAV", **how})
    return file.getvalue()


def refused(source: object, *args: object, match: str, **kwargs: object) -> None:
    with pytest.raises(AudioError, match=match):
        audio.load(source, *args, **kwargs)


# One recording, many forms


def test_all_forms_of_a_recording_are_equal(tmp_path: Path) -> None:
    values = pcm()
    expected = np.array([int(v) / 32768 for v in values], np.float32)
    data = encode(values)
    path = tmp_path / "a clip é.wav"
    path.write_bytes(data)
    forms = [
        audio.load(path),
        audio.load(str(path)),
        audio.load(data),
        audio.load(bytearray(data)),
        audio.load(memoryview(data)),
        audio.load(io.BytesIO(data)),
        audio.load(encode(values, format="FLAC")),
        audio.load(values, 16_000),
        audio.load(values.astype(np.int32) << 16, 16_000),
        audio.load(expected, 16_000),
        audio.load(expected.astype(np.float64), 16_000),
        audio.load(expected[np.newaxis], np.int64(16_000)),
        audio.load(np.stack([values, values]), 16_000.0),
        audio.load(encode(np.stack([values, values], axis=1))),
    ]
    with path.open("rb") as file:
        forms.append(audio.load(file))
    for samples, rate in forms:
        assert rate == 16_000
        assert samples.dtype == np.float32
        assert np.array_equal(samples, expected)


def test_uint8_is_centred_at_128() -> None:
    samples, _ = audio.load(np.array([0, 64, 128, 192, 255], np.uint8), 8000)
    assert samples.tolist() == [-1.0, -0.5, 0.0, 0.5, 127 / 128]
    decoded, _ = audio.load(encode(samples, 8000, subtype="PCM_U8"))
    assert np.array_equal(decoded, samples)


def test_full_scale_of_the_integers() -> None:
    assert audio.load(np.array([-(1 << 15), 1 << 14], np.int16), 8000)[0].tolist() == [-1.0, 0.5]
    assert audio.load(np.array([-(1 << 31), 1 << 30], np.int32), 8000)[0].tolist() == [-1.0, 0.5]


def test_channels_are_averaged() -> None:
    left, right = np.array([1.0, 0.5, 0.0]), np.array([0.0, 0.5, -1.0])
    assert audio.load(np.stack([left, right]), 8000)[0].tolist() == [0.5, 0.5, -0.5]
    data = encode(np.stack([left, right], axis=1), 8000, subtype="FLOAT")
    assert audio.load(data)[0].tolist() == [0.5, 0.5, -0.5]


def test_the_array_is_not_aliased() -> None:
    array = np.zeros(10, np.float32)
    samples, _ = audio.load(array, 8000)
    array[:] = 1
    assert not samples.any()


# Resampling and the int16 round trip


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000])
def test_a_resampled_sine_keeps_frequency_level_and_duration(rate: int) -> None:
    frequency, seconds = 1000.0, 1.0
    sine = np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)
    result = audio.prepare(sine, SPEC, rate)
    assert abs(len(result) - SPEC.sample_rate * seconds) <= 1
    # Away from the ends, where the filter has no neighbours, it is the same sine.
    time = np.arange(len(result)) / SPEC.sample_rate
    inner = slice(1600, 14_400)
    expected = np.sin(2 * np.pi * frequency * time)
    assert np.abs(result[inner] - expected[inner]).max() < 1e-3


def test_what_the_target_cannot_hold_is_filtered_out() -> None:
    sine = np.sin(2 * np.pi * 15_000 * np.arange(48_000) / 48_000)
    result = audio.prepare(sine, SPEC, 48_000)  # would alias to 1 kHz
    assert np.abs(result[1600:14_400]).max() < 1e-4


def test_equal_rates_change_nothing() -> None:
    samples = pcm().astype(np.float32) / 32768
    assert np.array_equal(audio.prepare(samples, SPEC, SPEC.sample_rate), samples)


def test_int16_round_trip() -> None:
    spec = dataclasses.replace(SPEC, int16_round_trip=True)
    values = np.array([0.0, 0.5, -0.5, 1.0, -1.0, 1.5, -2.0, 1e-5, 0.3], np.float32)
    result = audio.prepare(values, spec, SPEC.sample_rate)
    expected = [math.trunc(max(-1.0, min(1.0, float(v))) * 32767) / 32767 for v in values]
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-7)
    assert result[7] == 0  # truncated, not rounded up
    assert result[5] == 1
    assert np.array_equal(audio.prepare(values, SPEC, SPEC.sample_rate), values)


def test_too_short_for_one_target_sample() -> None:
    with pytest.raises(AudioError, match="too short"):
        audio.prepare(np.ones(1, np.float32), SPEC, 48_000)


# Refusals: files


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    refused(tmp_path / "no.wav", match=r"no\.wav' does not exist")
    refused(tmp_path, match="is a folder")
    (tmp_path / "empty.wav").touch()
    refused(tmp_path / "empty.wav", match="is empty")
    refused("x" * 5000, match="cannot be read|does not exist")


@pytest.mark.parametrize("data", [b"hello world" * 50, b"\0" * 1000, b"RIFF\x10\0\0\0WAVEfmt "])
def test_corrupt(data: bytes, tmp_path: Path) -> None:
    refused(data, match="cannot be decoded")
    (tmp_path / "bad.wav").write_bytes(data)
    refused(tmp_path / "bad.wav", match=r"bad\.wav' cannot be decoded")


@pytest.mark.parametrize("kind", ["FLAC", "OGG", "MP3"])
def test_a_file_that_was_cut_is_used_and_said(kind: str) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 160_000)
    data = encode(noise, 16_000, format=kind)
    whole = audio.read(data)
    assert len(whole.samples) == len(noise)
    assert whole.warning is None
    cut = audio.read(data[: len(data) // 2])
    assert 0.4 * len(noise) < len(cut.samples) <= 0.5 * len(noise)
    np.testing.assert_allclose(cut.samples[:60_000], whole.samples[:60_000], atol=1e-4)
    assert "may not be whole" in cut.warning
    assert f"{len(cut.samples) / 16_000:.1f} s of it are used" in cut.warning
    with pytest.warns(AudioWarning, match="may not be whole"):
        audio.load(data[: len(data) // 2])


@pytest.mark.parametrize("kind", ["FLAC", "OGG"])
def test_a_file_of_which_nothing_is_left_is_refused(kind: str) -> None:
    data = encode(0.5 * np.sin(np.arange(48_000) / 9), 16_000, format=kind)
    refused(data[: len(data) // 20], match="truncated")


def test_a_wav_that_stops_early_is_read_to_its_end() -> None:
    values = pcm()
    samples, _ = audio.load(encode(values)[:-2000])
    assert np.array_equal(samples, audio.load(values[:-1000], 16_000)[0])


def test_a_flac_that_does_not_state_its_length() -> None:
    values = pcm()
    data = bytearray(encode(values, format="FLAC"))
    # STREAMINFO's 36 bits of total samples; a writer to a pipe leaves them 0.
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    assert np.array_equal(audio.load(bytes(data))[0], audio.load(values, 16_000)[0])
    refused(bytes(data), match="allowed", max_seconds=0.1)


def test_no_samples() -> None:
    refused(encode(np.zeros(0, np.int16)), match="0 samples")
    refused(b"", match="is empty")
    refused(io.BytesIO(b""), match="is empty")


def test_headerless_file(tmp_path: Path) -> None:
    (tmp_path / "take.raw").write_bytes(bytes(1000))
    refused(tmp_path / "take.raw", match=r"take\.raw' has no header")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(value: float) -> None:
    samples = np.zeros(100)
    samples[[7, 9]] = value
    message = r"2 samples that are NaN or infinite, the first at index 7"
    refused(samples, 8000, match=message)
    refused(np.stack([np.zeros(100), samples]), 8000, match=message)
    refused(encode(samples, 8000, subtype="FLOAT"), match=message)


def test_text_file_object(tmp_path: Path) -> None:
    refused(io.StringIO("text"), match="'rb'")


@pytest.mark.parametrize("source", [None, 5, ["a.wav"], ("a.wav", 1), [0.1, 0.2]])
def test_other_types(source: object) -> None:
    refused(source, match=f"{type(source).__name__} is no recording")


def test_two_hours_are_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate, seconds = 1000, 7200
    size = rate * seconds
    header = b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt "
    header += (
        struct.pack("<IHHIIHH", 16, 1, 1, rate, rate, 1, 8) + b"data" + struct.pack("<I", size)
    )
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + size)  # sparse: takes no space

    def no_decoding(*args: object, **kwargs: object) -> None:
        raise AssertionError("decoded")

    with monkeypatch.context() as patch:
        patch.setattr(soundfile.SoundFile, "read", no_decoding)
        refused(path, match=r"long\.wav' lasts 7200 s, more than the 3600 s .*`max_seconds`")
    assert len(audio.load(path, max_seconds=7200)[0]) == size


def test_a_wrong_rate_for_a_file_is_not_passed_over() -> None:
    data = encode(pcm())
    assert audio.load(data, 16_000)[1] == 16_000
    refused(data, 44_100, match="16000 Hz, but sample_rate=44100")


# Refusals: arrays


def test_array_without_a_rate() -> None:
    refused(np.zeros(100), match=r"shape \(100,\).*pass sample_rate")


@pytest.mark.parametrize("rate", [0, -1, 999, 768_001, 44.1, True, "44100", float("nan")])
def test_rates_that_are_none(rate: object) -> None:
    refused(np.zeros(100), rate, match="sample.rate")


@pytest.mark.parametrize("shape", [(), (1, 1, 100), (2, 2, 2, 2)])
def test_shapes_that_are_none(shape: tuple[int, ...]) -> None:
    refused(np.zeros(shape), 8000, match=re.escape(str(shape)))


@pytest.mark.parametrize("shape", [(0,), (0, 100), (2, 0)])
def test_empty_arrays(shape: tuple[int, ...]) -> None:
    refused(np.zeros(shape), 8000, match="0 samples")


def test_channels_last_gets_a_hint() -> None:
    refused(np.zeros((48_000, 2)), 48_000, match="48000 channels.*transpose")


@pytest.mark.parametrize("kind", [np.int64, np.int8, np.uint16, np.bool_, np.complex64, "U1"])
def test_types_that_are_none(kind: object) -> None:
    refused(np.zeros(10, kind), 8000, match="dtype")


def test_floats_at_integer_scale_get_a_hint() -> None:
    refused(pcm().astype(np.float32), 8000, match="must lie in")
    overshoot = np.array([1.5, -3.0], np.float32)
    assert np.array_equal(audio.load(overshoot, 8000)[0], overshoot)


def test_long_arrays() -> None:
    refused(np.zeros(8001), 8000, match="`max_seconds`", max_seconds=1.0)
    assert len(audio.load(np.zeros(8000), 8000, max_seconds=1.0)[0]) == 8000


# Libraries and real recordings


def test_libraries_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode(pcm())
    monkeypatch.setitem(sys.modules, "soundfile", None)
    monkeypatch.setitem(sys.modules, "soxr", None)
    refused(data, match="pip install soundfile")
    with pytest.raises(AudioError, match="pip install soxr"):
        audio.prepare(np.zeros(1000), SPEC, 8000)
    assert len(audio.prepare(np.zeros(1000), SPEC, 16_000)) == 1000  # neither is needed


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason=f"no example recordings at {EXAMPLES}")
def test_real_recordings() -> None:
    paths = sorted(EXAMPLES.glob("*.wav"))
    assert paths
    for path in paths:
        info = soundfile.info(path)
        samples = audio.prepare(path, SPEC)
        assert abs(len(samples) - info.frames * SPEC.sample_rate / info.samplerate) <= 1
        assert 0.001 < np.abs(samples).max() < 1.5
