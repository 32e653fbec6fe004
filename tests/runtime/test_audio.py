"""Any recording to float32 mono, and clear refusals of what is none."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import math
import os
import re
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from runtime import audio
from runtime.errors import AudioError, AudioWarning, BackendError, ClapError
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
    sentence = rf"its length in samples is 1 at 48000 Hz, and 0 at {SPEC.sample_rate} Hz\."
    with pytest.raises(AudioError, match=sentence):
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
    with pytest.warns(AudioWarning, match="states 8000 bytes of samples and 6000 are there"):
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
    message = r"NaN or infinite samples \(2, the first at index 7\)"
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


@pytest.mark.parametrize("kind", ["FLOAT", "DOUBLE"])
def test_files_at_integer_scale_are_refused_as_arrays_are(kind: str) -> None:
    refused(encode(pcm().astype(np.float32), subtype=kind), match="must lie in")
    refused(encode(np.full(100, 1e20), subtype=kind), match=r"peak of 1e\+20")
    stereo = np.stack([np.zeros(100), np.full(100, 150.0)], axis=1)  # its mean would pass
    refused(encode(stereo, subtype=kind), match="peak of 150")
    refused(stereo.T, 8000, match="peak of 150")


@pytest.mark.parametrize(
    "array",
    [
        np.array([0.5, -0.5]).view(np.matrix), np.ma.array([0.5, -0.5]),
        np.array([0.5, -0.5], np.float16), np.array([0.5, -0.5], np.longdouble),
        np.array([0.5, -0.5], ">f4"), np.array([1 << 14, -1 << 14], ">i2"),
        np.array([0.5, 9, -0.5, 9])[::2],
    ],
)  # fmt: skip
def test_other_kinds_of_array(array: np.ndarray) -> None:
    samples, _ = audio.load(array, 8000)
    assert type(samples) is np.ndarray
    assert samples.dtype == np.float32
    assert samples.tolist() == [0.5, -0.5]


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.ma.array([0.5, 0.1], mask=[True, False]), "masked"),
        (np.array([None, 1.0], object), "dtype object"),
        (np.zeros(3, [("left", "f4")]), "dtype"),
        (np.array(["1e4000"], np.longdouble), "peak of inf|NaN or infinite"),
        (np.array([1e300, 0.1]), "peak of 1e\\+300"),
        (np.array([np.inf, 1e5]), "peak of 100000"),
        (np.zeros(3, "M8[s]"), "dtype"),
    ],
)
def test_arrays_that_are_no_recordings(array: np.ndarray, match: str) -> None:
    refused(array, 8000, match=match)


def test_long_arrays() -> None:
    refused(np.zeros(8001), 8000, match="`max_seconds`", max_seconds=1.0)
    assert len(audio.load(np.zeros(8000), 8000, max_seconds=1.0)[0]) == 8000


@pytest.mark.parametrize("limit", [0, -1, float("nan"), "60", True, None])
def test_limits_that_are_none(limit: object) -> None:
    with pytest.raises(ClapError, match="max_seconds="):
        audio.read(encode(pcm()), max_seconds=limit)
    assert len(audio.read(encode(pcm()), max_seconds=math.inf).samples) == 4000


# Whatever a source does


class Raises:
    """A file object whose reading raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def read(self, size: int = -1) -> bytes:
        raise self.error


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this")


class OfTheirOwn(BaseException):
    pass


ERRORS = [
    ArithmeticError(), AssertionError("a"), AttributeError("a"), BufferError(), EOFError(),
    FileNotFoundError(2, "gone"), FloatingPointError(), ImportError("a"), IndexError(), KeyError(1),
    LookupError(), MemoryError(), ModuleNotFoundError("a"), NameError(), NotImplementedError(),
    OSError("network gone"), OverflowError(), PermissionError(13, "no"), RecursionError(),
    ReferenceError(), RuntimeError("a"), StopIteration(), StopAsyncIteration(), SyntaxError("a"),
    TimeoutError(), TypeError("a"), UnicodeDecodeError("utf-8", b"x", 0, 1, "no"), ValueError("a"),
    ZeroDivisionError(), struct.error("a"), GeneratorExit(), asyncio.CancelledError(),
    ConnectionResetError(), zlib.error("a"), BackendError("of the item's own"), Unprintable(),
    OfTheirOwn("a"), UserWarning("a"), soundfile.LibsndfileError(1),
]  # fmt: skip


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_whatever_reading_raises_is_an_audio_error_that_names_it(error: BaseException) -> None:
    refused(Raises(error), match=rf"in Raises cannot be read \({type(error).__name__}")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_the_user_is_heard(error: type[BaseException]) -> None:
    with pytest.raises(error):
        audio.load(Raises(error()))


def test_sources_that_misbehave_otherwise() -> None:
    class Odd:
        @property
        def read(self) -> object:
            raise ZeroDivisionError

    class Path_(os.PathLike):  # type: ignore[type-arg]
        def __fspath__(self) -> str:
            raise KeyError("where")

    class Gives:
        def read(self) -> object:
            return 7

    closed = io.BytesIO(encode(pcm()))
    closed.close()
    released = memoryview(b"abc")
    released.release()
    for source in (Odd(), Path_(), Gives(), closed, released, "a\0b", "\ud800", Path("a\0b")):
        with pytest.raises(AudioError):
            audio.load(source)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode there")
def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.wav")
    for kind in ("WAV", "FLAC", "MP3"):
        data = encode(pcm(), format=kind)
        with open(path, "wb") as file:
            file.write(data)
        for form in (Path(os.fsdecode(path)), os.fsdecode(path)):
            assert np.array_equal(audio.load(form)[0], audio.load(data)[0])
    os.truncate(path, 0)
    with pytest.raises(AudioError, match=r"caf\\udce9\.wav' is empty") as error:
        audio.load(Path(os.fsdecode(path)))
    str(error.value).encode("utf-8")


def test_a_recording_is_itself_a_source() -> None:
    data = encode(pcm())[:-2000]
    found = audio.read(data)
    assert found.warning
    again = audio.read(found, rate=48_000)
    assert again.warning == found.warning
    assert np.array_equal(again.samples, audio.resample(found.samples, 16_000, 48_000))
    refused(found, match="lasts", max_seconds=0.01)


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
