"""A part of a file holds the numbers of the whole file there, at any rate and in any format."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from runtime import audio
from runtime.errors import AudioError
from tests import tiny
from train.data.recording import Recording
from train.data.waveforms import Held, Streamed, samples_of, size_of

SPEC = tiny.config().audio
FORMATS = [
    ("wav", "WAV", "PCM_16"),
    ("aiff", "AIFF", "PCM_24"),
    ("flac", "FLAC", "PCM_16"),
    ("ogg", "OGG", "VORBIS"),
    ("opus", "OGG", "OPUS"),
    ("mp3", "MP3", "MPEG_LAYER_III"),
]


def noise(rate: int, seconds: float, channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(int(rate))
    return 0.2 * rng.standard_normal((round(rate * seconds), channels))


@pytest.mark.parametrize(("suffix", "kind", "subtype"), FORMATS)
def test_a_part_is_cut_from_any_format_without_a_change(
    tmp_path: Path, suffix: str, kind: str, subtype: str
) -> None:
    rate = 48_000
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise(rate, 4, 2), rate, format=kind, subtype=subtype)
    spec = dataclasses.replace(SPEC, sample_rate=rate)
    recording = Recording(path)
    whole = recording.whole(spec)
    header = recording.stated()
    assert header is not None
    assert samples_of(header, spec) == len(whole)
    for start, stop in ((0, 1000), (12_345, 100_000), (len(whole) - 7, len(whole))):
        part = recording.part(*header, start, stop, spec)
        assert part.dtype == np.int16
        # One step where the decoder's own float arithmetic depends on where it set in (MP3).
        assert np.abs(part.astype(int) - whole[start:stop]).max() <= (suffix == "mp3")


@pytest.mark.parametrize(
    ("rate", "target"),
    [(44_100, 24_000), (48_000, 44_100), (22_050, 48_000), (96_000, 16_000), (11_025, 32_000)],
)
def test_a_resampled_part_is_in_phase_with_the_whole(
    tmp_path: Path, rate: int, target: int
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(rate, 3), rate, subtype="FLOAT")
    spec = dataclasses.replace(SPEC, sample_rate=target)
    recording = Recording(path)
    whole, header = recording.whole(spec).astype(int), recording.stated()
    assert header is not None
    assert samples_of(header, spec) == len(whole)
    for start in (0, 1, 777, target + 13, len(whole) - 5000):
        for stop in (start + 1, start + 5000):
            part = recording.part(*header, start, stop, spec).astype(int)
            difference = np.abs(part - whole[start:stop])
            assert difference.max() <= 1
            assert (difference > 0).mean() < 0.01 or stop == start + 1


def test_the_int16_round_trip_is_part_of_a_part(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(SPEC.sample_rate, 1), SPEC.sample_rate, subtype="FLOAT")
    spec = dataclasses.replace(SPEC, int16_round_trip=True)
    recording = Recording(path)
    header = recording.stated()
    assert header is not None
    part = recording.part(*header, 100, 900, spec)
    assert np.array_equal(part, recording.whole(spec)[100:900])
    assert not np.array_equal(part, recording.whole(SPEC)[100:900])


def test_a_member_of_a_larger_file_is_read_at_its_offset(tmp_path: Path) -> None:
    samples = tiny.waveforms(1, 4000)[0].numpy()
    content = tiny.write_wav(tmp_path / "a.wav", samples).read_bytes()
    (tmp_path / "shard").write_bytes(b"x" * 1234 + content + b"y" * 99)
    inside, alone = (
        Recording(tmp_path / "shard", (1234, len(content))),
        Recording(tmp_path / "a.wav"),
    )
    assert inside.stated() == alone.stated() == (4000, tiny.RATE)
    assert np.array_equal(inside.whole(SPEC), alone.whole(SPEC))
    assert np.array_equal(inside.part(4000, tiny.RATE, 7, 77, SPEC), alone.whole(SPEC)[7:77])


def test_what_no_header_tells_is_left_to_the_decoder(tmp_path: Path) -> None:
    (tmp_path / "noise.wav").write_bytes(b"RIFF but no audio")
    for path in (tmp_path / "noise.wav", tmp_path / "missing.wav"):
        assert Recording(path).stated() is None
        with pytest.raises(AudioError, match=path.name):
            Recording(path).whole(SPEC)


def test_a_part_that_is_not_there_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, noise(44_100, 4), 44_100, format="FLAC")
    path = tmp_path / "cut.flac"
    path.write_bytes(buffer.getvalue()[:100_000])
    header = Recording(path).stated()
    assert header == (4 * 44_100, 44_100)  # as it says
    with pytest.raises(AudioError, match=r"cut\.flac"):
        Recording(path).part(
            *header, 150_000, 151_000, dataclasses.replace(SPEC, sample_rate=44_100)
        )


def test_values_that_are_not_finite_are_refused_in_parts_too(tmp_path: Path) -> None:
    samples = noise(SPEC.sample_rate, 1)
    samples[5000] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, SPEC.sample_rate, subtype="FLOAT")
    recording = Recording(tmp_path / "a.wav")
    assert len(recording.part(len(samples), SPEC.sample_rate, 0, 4000, SPEC)) == 4000
    with pytest.raises(AudioError, match=r"a\.wav.*NaN"):
        recording.part(len(samples), SPEC.sample_rate, 4000, 6000, SPEC)


def test_held_and_streamed_waveforms_are_the_same_sequence(tmp_path: Path) -> None:
    lengths, rates = (500, 20_001, 3), (SPEC.sample_rate, 44_100, SPEC.sample_rate)
    paths = [tmp_path / f"{n}.wav" for n in lengths]
    for path, n, rate in zip(paths, lengths, rates, strict=True):
        soundfile.write(path, noise(rate, n / rate), rate)
    recordings = [Recording(path) for path in paths]
    headers = [recording.stated() or (0, 0) for recording in recordings]
    headers[0] = (500, 0)  # as of a file whose header does not tell
    held = Held([recording.whole(SPEC) for recording in recordings])
    streamed = Streamed(recordings, headers, SPEC)
    assert len(held) == len(streamed) == 3
    for i, (one, other) in enumerate(zip(held, streamed, strict=True)):
        assert held.length(i) == streamed.length(i) == len(one)
        assert np.array_equal(one, other)
        assert np.array_equal(streamed.part(i, 1, 3), one[1:3])
    assert [len(x) for x in streamed[1:]] == [len(x) for x in held[1:]]
    with pytest.raises(IndexError):
        streamed[3]
    assert size_of(headers, SPEC) == 2 * sum(map(len, held))


def test_a_file_is_decoded_as_the_runtime_decodes_it(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(44_100, 1, 2), 44_100)
    samples = audio.prepare(tmp_path / "a.wav", SPEC)
    levels = Recording(tmp_path / "a.wav").whole(SPEC)
    assert np.abs(levels / 32768 - samples).max() <= 0.5 / 32768 + 1e-7


def test_a_length_that_libsndfile_guesses_is_found_by_decoding(tmp_path: Path) -> None:
    """Two files in one, as of streams that were recorded: half of the sound is in the second."""
    samples = 0.2 * noise(16_000, 3)
    for name, format_ in (("a.ogg", "OGG"), ("a.mp3", "MP3"), ("a.flac", "FLAC")):
        path = tmp_path / name
        soundfile.write(path, samples, 16_000, format=format_)
        assert Recording(path).stated() == (len(samples), 16_000)
        if format_ == "FLAC":
            continue
        path.write_bytes(2 * path.read_bytes())
        assert Recording(path).stated() is None
        whole = Recording(path).whole(SPEC)
        assert abs(len(whole) - 2 * len(samples) * SPEC.sample_rate / 16_000) < 10


@pytest.mark.parametrize(("suffix", "kind", "subtype"), FORMATS)
@pytest.mark.parametrize("rate", [SPEC.sample_rate, 44_100])
def test_a_part_that_is_decoded_from_the_beginning_is_the_wholes(
    tmp_path: Path, suffix: str, kind: str, subtype: str, rate: int
) -> None:
    """Also of several files that were strung together, whose header tells of the first alone."""
    rate = 48_000 if suffix == "opus" else rate
    for seconds in (1, 2):
        path = tmp_path / f"{seconds}.{suffix}"
        soundfile.write(path, noise(rate, seconds, 2), rate, format=kind, subtype=subtype)
    joined = tmp_path / f"a.{suffix}"
    both = [(tmp_path / f"{seconds}.{suffix}").read_bytes() for seconds in (1, 2)]
    joined.write_bytes(b"".join(both) if kind in ("MP3", "OGG") else both[1])
    recording = Recording(joined)
    for round_trip in (False, True):
        spec = dataclasses.replace(SPEC, int16_round_trip=round_trip)
        whole = recording.whole(spec)
        assert recording.count(spec) == (len(whole), None)
        for start, stop in ((0, 1), (0, 999), (7_000, 15_000), (len(whole) - 7, len(whole))):
            part = recording.early(start, stop, spec)
            assert part.dtype == np.int16
            assert np.array_equal(part, whole[start:stop])
    with pytest.raises(AudioError, match="could be decoded"):
        recording.early(0, len(whole) + 1, SPEC)


def test_a_part_is_decoded_no_further_than_it_reaches(tmp_path: Path) -> None:
    """What lies a minute behind it cannot be decoded, and is not."""
    samples = noise(SPEC.sample_rate, 120)
    samples[-1] = np.nan
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, SPEC.sample_rate, subtype="FLOAT")
    found = Recording(path).early(1000, 2000, SPEC) / 32768
    assert np.abs(found - samples[1000:2000, 0]).max() <= 0.5 / 32768 + 1e-9
    with pytest.raises(AudioError, match="NaN"), audio.Stream(path) as stream:
        sum(map(len, stream.blocks()))
