"""Recordings in blocks: what the whole gives, at any size of the blocks, and at a fixed memory."""

from __future__ import annotations

import dataclasses
import io
import itertools
import math
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import AudioWarning, ClapError, Classifier, Encoder, audio
from runtime.audio import Chunks, Stream
from runtime.clips import fusion, windows
from runtime.clips.clip import HELD, Clip
from runtime.clips.cutter import Cutter
from runtime.clips.policy import Policy
from runtime.errors import AudioError
from tests.tiny import bundle as tinybundle
from tests.tiny.bundle import LABELS, RATE, WINDOW, clip, slow_audio_embedding

SPEC = tinybundle.MANIFEST.audio
KINDS = [
    ("WAV", "PCM_16"),
    ("WAV", "FLOAT"),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("AIFF", "PCM_16"),
]


def parts(samples: np.ndarray, sizes: list[int]) -> Iterator[np.ndarray]:
    """The samples in chunks of these sizes, over and over."""
    at = 0
    for size in itertools.cycle(sizes):
        if at >= samples.shape[-1]:
            return
        yield samples[..., at : at + size]
        at += size


def file_of(samples: np.ndarray, rate: int, format: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples.T, rate, format=format, subtype=subtype)
    return file.getvalue()


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> Iterator[Classifier]:
    with Classifier(tiny_bundle, LABELS, scores="cosine") as made:
        yield made


# Samples


@pytest.mark.parametrize(("format", "subtype"), KINDS)
@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 16_000])
def test_blocks_are_the_file_decoded_and_resampled_at_once(
    format: str, subtype: str, rate: int
) -> None:
    samples = np.stack([clip(1, 3 * rate + 17), clip(2, 3 * rate + 17)])
    data = file_of(samples, rate, format, subtype)
    whole, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    wanted = soxr.resample(whole.mean(axis=1, dtype=np.float32), rate, RATE, quality="HQ")
    with Stream(data, rate=RATE) as stream:
        blocks = list(stream.blocks())
    assert max(map(len, blocks)) < 2 * 65536
    assert stream.warning is None
    np.testing.assert_allclose(np.concatenate(blocks), wanted, atol=1e-6)
    assert np.array_equal(np.concatenate(blocks), audio.read(data, rate=RATE).samples)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 7_000), min_size=1, max_size=5),
    rate=st.sampled_from([8_000, 16_000, 22_050, 48_000]),
    stereo=st.booleans(),
    integers=st.booleans(),
)
def test_chunks_of_any_size_are_the_whole_array(
    sizes: list[int], rate: int, stereo: bool, integers: bool
) -> None:
    samples = np.stack([clip(3, 9_001), clip(4, 9_001)]) if stereo else clip(3, 9_001)
    if integers:
        samples = np.round(samples * 32767).astype(np.int16)
    got = audio.read(Chunks(parts(samples, sizes), rate), rate=RATE).samples
    assert np.array_equal(got, audio.read(samples, rate, rate=RATE).samples)


def test_chunks_of_one_sample() -> None:
    samples = clip(5, 3_000)
    got = audio.read(Chunks(parts(samples, [1]), 44_100), rate=RATE).samples
    assert np.array_equal(got, audio.read(samples, 44_100, rate=RATE).samples)


def test_only_what_is_asked_for_is_read(classifier: Classifier) -> None:
    asked: list[int] = []

    def endless() -> Iterator[np.ndarray]:
        for i in itertools.count():
            asked.append(i)
            yield clip(i, WINDOW)

    segments = classifier.segments(Chunks(endless(), RATE))
    first = [next(segments) for _ in range(3)]
    assert [s.start for s in first] == [0, 0.5, 1.0]
    segments.close()
    assert len(asked) < 200
    head = Encoder(classifier.encoder._given, windows="head:3")  # type: ignore[attr-defined]
    asked.clear()
    got = head.embed_audio(Chunks(endless(), RATE))
    assert len(asked) <= 4
    wanted = sum(slow_audio_embedding(clip(i, WINDOW)) for i in range(3))
    np.testing.assert_allclose(got[0], wanted / np.linalg.norm(wanted), atol=1e-5)


def test_an_endless_stream_ends_at_the_limit(tiny_bundle: Path) -> None:
    zeros = Chunks(itertools.repeat(np.zeros(4000, np.float32)), RATE)
    with pytest.raises(AudioError, match="longer than the 7 s allowed"):
        Encoder(tiny_bundle, max_seconds=7).embed_audio(zeros)


@pytest.mark.parametrize(
    ("chunks", "match"),
    [
        ([np.zeros((2, 100)), np.zeros((1, 100))], "1 channels after 0.0 s, and had 2"),
        ([np.zeros((3, 2, 1))], r"pass \(samples,\) or \(channels, samples\)"),
        ([[0.0, 1.0]], "brought list"),
        ([], "0 samples"),
        ([np.zeros(0)], "0 samples"),
        ([np.full(9, np.nan)], "NaN"),
        ([np.full(9, 1e4)], "peak"),
    ],
)
def test_chunks_that_are_no_recording(chunks: list[object], match: str) -> None:
    with pytest.raises(AudioError, match=match):
        audio.read(Chunks(chunks, 8_000))  # type: ignore[arg-type]


# What breaks off


def broken(at: int, total: int) -> np.ndarray:
    samples = clip(6, total)
    samples[at] = np.nan
    return samples


def test_a_bad_sample_late_in_a_recording_keeps_what_came_before(classifier: Classifier) -> None:
    samples = broken(90_000, 100_000)
    data = tinybundle.wav(samples)
    with pytest.warns(AudioWarning, match=r"breaks off \(.*NaN.*index 90000.*5\.6 s of it") as said:
        segments = classifier.timeline(data)
    assert said[0].filename == __file__
    assert segments == classifier.timeline(samples[:90_000], RATE)
    (result,) = classifier.predict_many([data])
    assert result.error is None
    assert "5.6 s of it are used" in (result.warning or "")
    assert result.predictions == classifier.predict(samples[:90_000], RATE)


def test_a_bad_sample_in_the_first_window_refuses_the_recording(classifier: Classifier) -> None:
    data = tinybundle.wav(broken(7_999, 100_000))
    (result,) = classifier.predict_many([data])
    assert isinstance(result.error, AudioError)
    assert "NaN" in str(result.error)
    with pytest.raises(AudioError, match="first at index 7999"):
        classifier.timeline(data)
    with pytest.raises(AudioError, match="NaN"):  # of an array, all is known at once
        classifier.predict(broken(90_000, 100_000), RATE)


def test_a_source_that_goes_away_keeps_what_came_before(classifier: Classifier) -> None:
    def device() -> Iterator[np.ndarray]:
        yield clip(7, 5 * WINDOW)
        raise OSError("no such device")

    with pytest.warns(AudioWarning, match="breaks off .*OSError: no such device.* 2.5 s of it"):
        segments = classifier.timeline(Chunks(device(), RATE))
    assert segments == classifier.timeline(clip(7, 5 * WINDOW), RATE)


# Windows


@settings(max_examples=300, deadline=None)
@given(
    window=st.integers(1, 12), hop=st.integers(1, 20), n=st.integers(1, 80),
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4),
)  # fmt: skip
def test_windows_as_they_come_are_those_of_the_whole(
    window: int, hop: int, n: int, sizes: list[int]
) -> None:
    spec = dataclasses.replace(SPEC, window_samples=window, hop_samples=window)
    samples = np.arange(1, n + 1, dtype=np.float32)
    cutter = Cutter(spec, itertools.count(0, hop), "aligned")
    cuts = [cut for part in parts(samples, sizes) for cut in cutter.push(part)]
    cuts += cutter.finish()
    at = windows.starts(n, window, hop)
    assert [cut.start for cut in cuts] == at.tolist()
    assert [cut.end for cut in cuts] == [min(start + window, n) for start in at.tolist()]
    for cut in cuts:
        wanted = samples[cut.start : cut.end]
        assert np.array_equal(cut.row[: len(wanted)], wanted)
        assert len(cut.row) == window


@pytest.mark.parametrize(
    ("tail", "n", "starts"),
    [
        ("aligned", 25, [0, 10, 15]), ("dropped", 25, [0, 10]), ("filled", 25, [0, 10, 20]),
        ("aligned", 20, [0, 10]), ("dropped", 20, [0, 10]), ("filled", 20, [0, 10]),
        ("aligned", 7, [0]), ("dropped", 7, [0]), ("filled", 7, [0]),
    ],
)  # fmt: skip
def test_tails(tail: str, n: int, starts: list[int]) -> None:
    spec = dataclasses.replace(SPEC, window_samples=10, hop_samples=10, fill="pad")
    cutter = Cutter(spec, itertools.count(0, 10), tail)  # type: ignore[arg-type]
    samples = np.arange(1, n + 1, dtype=np.float32)
    cuts = [*cutter.push(samples), *cutter.finish()]
    assert [cut.start for cut in cuts] == starts
    if n < 10 or tail == "filled":
        left = samples[cuts[-1].start :]
        assert np.array_equal(cuts[-1].row, np.concatenate([left, np.zeros(10 - len(left))]))


def rows(policy: Policy, samples: np.ndarray, spec: object = SPEC) -> tuple[list[int], np.ndarray]:
    with Clip(samples, RATE, spec, policy, math.inf) as opened:  # type: ignore[arg-type]
        pieces = list(opened.pieces(3))
    assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    return [s for p in pieces for s in p.starts], np.concatenate([p.rows for p in pieces])


@pytest.mark.parametrize("n", [WINDOW - 5, WINDOW, WINDOW + 1, 10 * WINDOW + 123])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_counted_windows(n: int, count: int) -> None:
    samples = clip(8, n)
    last = max(0, n - WINDOW)
    spaced, _ = rows(Policy("x", "spaced", count), samples)
    wanted = [last // 2] if count == 1 else [i * last // (count - 1) for i in range(count)]
    assert spaced == sorted(set(wanted))
    middle, found = rows(Policy("x", "middle", count, hop=0.25), samples)
    assert middle[0] + middle[-1] in (last, last - 1)
    assert len(middle) == min(count, last // 4000 + 1)
    for start, row in zip(middle, found, strict=True):
        piece = samples[start : start + WINDOW]
        assert np.array_equal(row[: len(piece)], piece)
    head, _ = rows(Policy("x", "head", count, hop=0.25), samples)
    every, _ = rows(Policy("x", hop=0.25), samples)
    assert head == every[:count]


def test_a_long_recording_is_read_twice_or_kept_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = clip(9, 20 * WINDOW)
    wanted = rows(Policy("x", "spaced", 5), samples)
    monkeypatch.setattr("runtime.clips.clip.HELD", 3 * WINDOW)
    assert HELD > 3 * WINDOW
    data = tinybundle.wav(samples)
    for source in (data, samples, io.BytesIO(data), Chunks(parts(samples, [777]), RATE)):
        got = rows(Policy("x", "spaced", 5), source)  # type: ignore[arg-type]
        assert got[0] == wanted[0]
        assert np.array_equal(got[1], wanted[1])


def test_feature_fusion_gathers_as_samples_come() -> None:
    spec = dataclasses.replace(SPEC, long_clips="fusion")
    total = fusion.gathered_samples(spec) + 12_345
    samples = clip(10, total)
    with Clip(
        Chunks(parts(samples, [1_000, 33]), RATE), None, spec, Policy.of(spec), math.inf
    ) as c:
        (piece,) = c.pieces(4)
    got, wanted = (fusion.inputs(r, spec) for r in (list(piece.rows), [samples]))
    for name, value in wanted.items():
        assert np.array_equal(got[name], value), name


# Pooling


def test_poolings_are_what_they_say(tiny_bundle: Path) -> None:
    samples = clip(11, 3 * WINDOW)
    cut = samples.reshape(3, WINDOW)
    units = np.stack([slow_audio_embedding(w) for w in cut])
    raw = np.stack([tinybundle.slow_raw_vector(w) for w in cut])
    energy = (cut.astype(np.float64) ** 2).mean(axis=1)
    for name, total in (
        ("all", units.sum(axis=0)), ("back-to-back", raw.sum(axis=0)),
        ("loudest", (energy[:, None] * units).sum(axis=0)),
    ):  # fmt: skip
        with Encoder(tiny_bundle, windows=name) as encoder:
            got = encoder.embed_audio(samples, RATE)[0]
        np.testing.assert_allclose(got, total / np.linalg.norm(total), atol=2e-6, err_msg=name)


def test_the_rarest_sound_counts_by_its_best_window(tiny_bundle: Path) -> None:
    samples = clip(12, 4 * WINDOW)
    each = [tinybundle.slow_cosines(w) for w in samples.reshape(4, WINDOW)]
    with Classifier(tiny_bundle, LABELS, scores="cosine", windows="rare") as rare:
        got = {p.label: p.similarity for p in rare.predict(samples, RATE)}
        (many,) = rare.predict_many([(samples, RATE)], parallel=1)
        assert {p.label: p.similarity for p in many.predictions} == got
        with pytest.raises(ClapError, match="leaves no embedding"):
            rare.encoder.embed_audio(samples, RATE)
    for label in LABELS:
        assert got[label] == pytest.approx(max(found[label] for found in each), abs=1e-5)
    with Classifier(tiny_bundle, LABELS, windows="rare") as rare:
        best = rare.predict(samples, RATE)
    with Classifier(tiny_bundle, LABELS) as plain:
        timeline = plain.timeline(samples, RATE)
    for found in best:
        peak = max(p.score for s in timeline for p in s.predictions if p.label == found.label)
        assert found.score == pytest.approx(peak, abs=1e-6)


def test_silence_has_an_embedding_by_energy_too(tiny_bundle: Path) -> None:
    with Encoder(tiny_bundle, windows="loudest") as encoder:
        got = encoder.embed_audio(np.zeros(2 * WINDOW, np.float32), RATE)
    np.testing.assert_allclose(got[0], slow_audio_embedding(np.zeros(WINDOW)), atol=1e-5)


@pytest.mark.parametrize(
    "wanted", ["", "heads", "head:0", "head:x", "all:2", "spaced:9999999", 3, []]
)
def test_names_that_are_no_policy(tiny_bundle: Path, wanted: object) -> None:
    with pytest.raises(ClapError, match="windows="):
        Encoder(tiny_bundle, windows=wanted)  # type: ignore[arg-type]


def test_policies_make_spaces_of_their_own(tiny_bundle: Path) -> None:
    with Encoder(tiny_bundle) as plain:
        own = plain.clip_space_id
        names = ["all", Policy("mine"), Policy("mine", hop=0.5)]  # the bundle's hop, spelled out
        assert {Encoder(plain._given, windows=n).clip_space_id for n in names} == {own}
        others = ["head", "head:2", "middle", "loudest", "rare", "back-to-back", "past-intro"]
        found = {Encoder(plain._given, windows=n).clip_space_id for n in others}
    assert len(found - {own}) == len(others)


# Memory


def test_memory_does_not_grow_with_length(classifier: Classifier) -> None:
    def noise(seconds: int) -> Chunks:
        block = clip(13, RATE)
        return Chunks(itertools.repeat(block, seconds), RATE)

    def peak(seconds: int) -> int:
        tracemalloc.start()
        classifier.predict(noise(seconds))
        for result in classifier.predict_many([noise(seconds)] * 2, parallel=1):
            assert result.error is None
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(200)
    assert peak(1_200) - peak(200) < 1_000_000  # the samples alone would be 64 million bytes more
