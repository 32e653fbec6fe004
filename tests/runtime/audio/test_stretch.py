"""Windows of a long file without decoding all of it."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from runtime import Encoder, audio
from runtime.audio import flac, stretch
from runtime.audio.content import Content
from runtime.audio.structure import find
from tests.runtime.audio.encoded import RATE, sound, wav
from tests.tiny import bundle as tinybundle

KINDS = [
    ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("RF64", "PCM_16"),
    ("W64", "PCM_24"), ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("CAF", "PCM_16"),
    ("FLAC", "PCM_16"), ("FLAC", "PCM_24"),
]  # fmt: skip


def of(data: bytes, rate: int = RATE) -> stretch.Stretches | None:
    content = Content(data)
    return stretch.of(content, find(content), "it", rate)


def made(kind: str, subtype: str, rate: int = RATE) -> bytes:
    return wav((sound() / 32768).astype(np.float32), rate, format=kind, subtype=subtype)


@pytest.mark.parametrize(("kind", "subtype"), KINDS)
@pytest.mark.parametrize("on_disk", [False, True])
def test_a_stretch_is_that_of_the_whole(
    kind: str, subtype: str, on_disk: bool, tmp_path: Path
) -> None:
    data = made(kind, subtype)
    whole = audio.read(data).samples
    path = tmp_path / "a"
    path.write_bytes(data)
    with path.open("rb") as file:
        content = Content(file, str(path)) if on_disk else Content(data)
        found = stretch.of(content, find(content), "it", RATE)
        assert found is not None
        assert found.total == len(whole)
        for start, stop in (
            (0, 1),
            (0, 5000),
            (4095, 4097),
            (70_001, 99_999),
            (len(whole) - 9, len(whole)),
        ):
            assert np.array_equal(found.samples(start, stop), whole[start:stop])


@pytest.mark.parametrize("own", [8_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_resampled_it_is_that_of_the_whole(own: int, rate: int) -> None:
    data = wav(sound()[: -7 - own % 1000], own)
    whole = audio.read(data, rate=rate).samples
    found = of(data, rate)
    assert found is not None
    assert found.total == len(whole)
    for start in (0, 1, 777, len(whole) // 2, len(whole) - 3000):
        part = found.samples(start, start + 3000)
        np.testing.assert_allclose(part, whole[start : start + 3000], rtol=0, atol=1e-6)


def test_files_that_must_be_decoded_from_their_beginning() -> None:
    good = made("WAV", "PCM_16")
    cut = made("FLAC", "PCM_16")[:-40_000]
    for data in (
        made("OGG", "VORBIS"), made("MP3", "MPEG_LAYER_III"), good + good, good[:-1000], cut,
        made("WAV", "IMA_ADPCM"), b"nothing" * 100, wav(np.zeros(0, np.int16)),
    ):  # fmt: skip
        assert of(data) is None


def test_a_flac_that_states_less_than_it_has() -> None:
    data = made("FLAC", "PCM_16")
    assert flac.end(Content(data)) == len(sound())
    value = int.from_bytes(data[18:26], "big") >> 36 << 36 | 50_000
    assert of(data[:18] + value.to_bytes(8, "big") + data[26:]) is None


@pytest.mark.parametrize("windows", ["middle", "spaced", "spaced:5"])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_an_encoder_hears_the_same_windows(windows: str, rate: int, tmp_path: Path) -> None:
    data = made("FLAC", "PCM_16", rate)
    folder = tinybundle.build(tmp_path / "b")
    with Encoder(folder, windows=windows) as encoder:
        samples = audio.read(data)
        want = encoder.embed_audio(samples.samples, samples.rate)
        np.testing.assert_allclose(encoder.embed_audio(data), want, atol=1e-5)
        np.testing.assert_allclose(encoder.embed_audio(io.BytesIO(data)), want, atol=1e-5)


def test_a_long_file_is_not_decoded_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(2 * 16_000))
    with path.open("r+b") as file:  # an hour and more, of which the disk holds nothing
        size = 36 + 2 * 16_000 * 7_200
        file.truncate(size + 8)
        file.seek(4)
        file.write(size.to_bytes(4, "little"))
        file.seek(40)
        file.write((size - 36).to_bytes(4, "little"))
    before = soundfile.SoundFile.read
    frames: list[int] = []

    def counted(self: soundfile.SoundFile, *args: object, **more: object) -> np.ndarray:
        found = before(self, *args, **more)
        frames.append(len(found))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(soundfile.SoundFile, "read", counted)
        with Encoder(tinybundle.build(tmp_path / "b"), windows="spaced") as encoder:
            encoder.embed_audio(path)
    assert 0 < sum(frames) < 16_000 * 60
