"""A stream in chunks is heard as the whole recording is, and its clock is right."""

from __future__ import annotations

import math
import threading
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import ClapError, Classifier, Event, Events, Listener, Rule, Segment
from runtime.clips.policy import Policy
from runtime.clips.quirks import Quirks
from runtime.errors import AudioError, BackendError
from runtime.listening.listener import loudness
from runtime.manifest import Calibration
from tests.tiny import bundle as tiny

WINDOW_SECONDS = tiny.WINDOW / tiny.RATE


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> Iterator[Classifier]:
    with Classifier(tiny_bundle, tiny.LABELS) as made:
        yield made


@pytest.fixture(scope="module")
def short_windows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Classifier]:
    """A model behind the int16 round trip, with a batch that a chunk may overfill."""
    spec = replace(tiny.MANIFEST.audio, int16_round_trip=True, fill="pad")
    folder = tiny.build(tmp_path_factory.mktemp("round") / "tiny", audio=spec)
    with Classifier(folder, tiny.LABELS, batch_size=3, scores="cosine") as made:
        yield made


def sound(n: int, kind: type, channels: int, seed: int = 0) -> np.ndarray:
    """Noise of changing level ``[n]`` or ``[channels, n]``."""
    rows = np.stack([tiny.clip(seed + i, n) for i in range(channels)])
    samples = (rows * 32767).astype(np.int16) if kind is np.int16 else rows.astype(kind)
    return samples[0] if channels == 1 else samples


def cut(samples: np.ndarray, sizes: Iterable[int]) -> Iterator[np.ndarray]:
    """A recording in chunks of these sizes, over and over."""
    at = 0
    sizes = list(sizes)
    while at < samples.shape[-1]:
        for size in sizes:
            if at < samples.shape[-1]:
                yield samples[..., at : at + size]
            at += size


def heard(listener: Listener, chunks: Iterable[np.ndarray]) -> list[Segment]:
    return [s for chunk in chunks for s in listener.feed(chunk)] + listener.flush()


def same(found: list[Segment], wanted: list[Segment]) -> None:
    """The same windows at the very same times. Engines round scores by the size of a batch, so
    these are compared to float32's last digits."""
    assert [(s.start, s.end) for s in found] == [(s.start, s.end) for s in wanted]
    for a, b in zip(found, wanted, strict=True):
        scores = {p.label: (p.score, p.similarity) for p in b.predictions}
        assert {p.label for p in a.predictions} == set(scores)
        for p in a.predictions:
            assert (p.score, p.similarity) == pytest.approx(scores[p.label], abs=2e-6)


@settings(max_examples=60, deadline=None)
@given(
    rate=st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000]),
    seconds=st.floats(0.001, 2.2),
    hop=st.sampled_from([0.05, 0.11, 0.25, 0.5, 0.7]),
    kind=st.sampled_from([np.int16, np.float32, np.float64]),
    channels=st.integers(1, 3),
    sizes=st.lists(st.integers(1, 9_000), min_size=1, max_size=6),
)
def test_any_chunks_give_the_timeline_of_the_whole(
    short_windows: Classifier,
    rate: int, seconds: float, hop: float, kind: type, channels: int, sizes: list[int],
) -> None:  # fmt: skip
    samples = sound(max(20, int(seconds * rate)), kind, channels)
    wanted = short_windows.timeline(samples, rate, hop=hop)
    if max(sizes) < 50:
        samples = samples[..., : 40 * max(sizes)]
        wanted = short_windows.timeline(samples, rate, hop=hop)
    same(heard(Listener(short_windows, rate, hop=hop), cut(samples, sizes)), wanted)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_chunks_of_one_sample(classifier: Classifier, rate: int) -> None:
    samples = sound(int(0.62 * rate), np.int16, 1)
    found = heard(Listener(classifier, rate, hop=0.05), cut(samples, [1]))
    same(found, classifier.timeline(samples, rate, hop=0.05))


def test_windows_are_bit_for_bit_those_of_the_timeline(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the engine is given, in order, however it is batched."""
    given_rows: list[np.ndarray] = []
    original = type(classifier.encoder).embed_windows

    def spying(self: Any, batch: np.ndarray, *args: Any, **options: Any) -> Any:
        given_rows.extend(batch.copy())
        return original(self, batch, *args, **options)

    monkeypatch.setattr(type(classifier.encoder), "embed_windows", spying)
    samples = sound(3 * 44_100 + 17, np.float32, 2)
    heard(Listener(classifier, 44_100, hop=0.1), cut(samples, [1000, 3, 40_000]))
    streamed = np.stack(given_rows)
    assert np.array_equal(streamed, tiny_windows(classifier, samples, 44_100, 1_600))


def tiny_windows(classifier: Classifier, samples: np.ndarray, rate: int, hop: int) -> np.ndarray:
    """The windows of a whole recording, by a loop over the rule that the docs state."""
    mono = classifier.encoder.read(samples, rate).samples
    at = [i for i in range(0, len(mono), hop) if i + tiny.WINDOW <= len(mono)]
    if at[-1] + tiny.WINDOW < len(mono):
        at.append(len(mono) - tiny.WINDOW)
    return np.stack([mono[i : i + tiny.WINDOW] for i in at])


@pytest.mark.parametrize("kind", ["torchaudio", "librosa"])
@pytest.mark.parametrize("rate", [16_000, 22_050, 48_000])
def test_the_originals_resamplers_are_heard_through_too(
    tiny_bundle: Path, kind: Any, rate: int
) -> None:
    policy = Policy("theirs", quirks=Quirks(kind))
    samples = sound(round(1.7 * rate), np.float32, 2)
    with Classifier(tiny_bundle, tiny.LABELS, windows=policy) as classifier:
        found = heard(Listener(classifier, rate, hop=0.2), cut(samples, [700, 3, 9_000]))
        same(found, classifier.timeline(samples, rate, hop=0.2))


def test_channels_cannot_be_strung_together_without_an_end(tiny_bundle: Path) -> None:
    policy = Policy("theirs", quirks=Quirks("torchaudio", "strung"))
    samples = sound(20_000, np.float32, 1)
    with Classifier(tiny_bundle, tiny.LABELS, windows=policy) as classifier:
        listener = Listener(classifier, 16_000, hop=0.2)
        with pytest.raises(AudioError, match="'theirs' strings one behind the other"):
            listener.feed(np.zeros((2, 100), np.float32))
        same(heard(listener, cut(samples, [999])), classifier.timeline(samples, 16_000, hop=0.2))


def test_a_segment_comes_as_soon_as_its_window_is_complete(classifier: Classifier) -> None:
    listener = Listener(classifier, tiny.RATE, hop=0.25)
    samples = sound(2 * tiny.RATE, np.float32, 1)
    assert listener.feed(samples[: tiny.WINDOW - 1]) == []
    (first,) = listener.feed(samples[tiny.WINDOW - 1 : tiny.WINDOW])
    assert (first.start, first.end) == (0.0, 0.5)
    assert listener.feed(samples[tiny.WINDOW : tiny.WINDOW + 3_999]) == []
    (second,) = listener.feed(samples[tiny.WINDOW + 3_999 : tiny.WINDOW + 4_000])
    assert (second.start, second.end) == (0.25, 0.75)
    assert len(listener.feed(samples[tiny.WINDOW + 4_000 :])) == 5
    assert listener.flush() == []  # the last window ended with the last sample
    assert listener.counts.windows == 7


def test_windows_that_are_ready_at_once_share_a_batch(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    original = type(classifier.encoder).embed_windows

    def spying(self: Any, batch: np.ndarray, *args: Any, **options: Any) -> Any:
        sizes.append(len(batch))
        return original(self, batch, *args, **options)

    monkeypatch.setattr(type(classifier.encoder), "embed_windows", spying)
    Listener(classifier, tiny.RATE, hop=0.1).feed(sound(40_000, np.float32, 1))
    most = classifier.encoder.batch_size
    assert len(sizes) == -(-21 // most)
    assert (sum(sizes), max(sizes)) == (21, most)


def test_what_is_fed_after_a_flush_is_another_recording(classifier: Classifier) -> None:
    listener = Listener(classifier, 22_050, hop=0.2)
    first, second = sound(20_000, np.int16, 1), sound(30_000, np.int16, 1, seed=5)
    same(heard(listener, cut(first, [777])), classifier.timeline(first, 22_050, hop=0.2))
    later = 20_000 / 22_050
    found = heard(listener, cut(second, [777]))
    wanted = [
        Segment(later + s.start, later + s.end, s.predictions)
        for s in classifier.timeline(second, 22_050, hop=0.2)
    ]
    same(found, wanted)
    assert listener.flush() == []


def test_nothing_fed_is_nothing_heard(classifier: Classifier) -> None:
    listener = Listener(classifier, tiny.RATE)
    assert listener.flush() == []
    assert listener.feed(np.empty(0)) == []
    assert listener.feed(np.empty((2, 0), np.int16)) == []
    assert listener.flush() == []
    assert listener.seconds == 0.0
    # Less than one sample of the model's rate: no window.
    one = Listener(classifier, 768_000)
    assert one.feed(np.zeros(1, np.float32)) == []
    assert one.flush() == []


def test_a_long_gap_ends_the_recording_and_the_clock_goes_on(classifier: Classifier) -> None:
    listener = Listener(classifier, 44_100, hop=0.25)
    first, second = sound(50_000, np.float32, 2), sound(60_000, np.float32, 2, seed=3)
    found = [s for chunk in cut(first, [4_096]) for s in listener.feed(chunk)]
    found += listener.gap(7.5)
    same(found, classifier.timeline(first, 44_100, hop=0.25))
    later = 50_000 / 44_100 + 7.5
    assert listener.seconds == pytest.approx(later, abs=1e-12)
    again = heard(listener, cut(second, [4_096]))
    wanted = classifier.timeline(second, 44_100, hop=0.25)
    assert [s.start - later for s in again] == pytest.approx([s.start for s in wanted], abs=1e-9)
    assert listener.counts.missing == 7.5
    assert listener.counts.seconds == pytest.approx(110_000 / 44_100)


def test_a_short_gap_is_silence(classifier: Classifier) -> None:
    listener = Listener(classifier, 16_000, hop=0.25)
    first, second = sound(9_000, np.float32, 1), sound(9_000, np.float32, 1, seed=3)
    found = listener.feed(first) + listener.gap(0.1) + listener.feed(second) + listener.flush()
    whole = np.concatenate([first, np.zeros(1_600, np.float32), second])
    same(found, classifier.timeline(whole, 16_000, hop=0.25))
    assert (listener.counts.bridged, listener.counts.missing) == (pytest.approx(0.1), 0.0)


def test_gaps_shorter_than_a_sample_are_not_forgotten(classifier: Classifier) -> None:
    listener = Listener(classifier, 8_000, hop=0.25)
    for _ in range(1_000):
        listener.gap(0.00009)  # 0.72 samples
    assert listener.seconds == pytest.approx(0.09, abs=1e-9)
    assert listener.counts.bridged == pytest.approx(0.09, abs=1 / 8_000)


def test_timestamps_set_the_clock_and_show_gaps(classifier: Classifier) -> None:
    listener = Listener(classifier, 16_000, hop=0.25)
    chunk = sound(8_000, np.float32, 1)
    start = 1_800_000_000.0
    (first,) = listener.feed(chunk, at=start)
    assert (first.start, first.end) == (start, start + 0.5)
    listener.feed(chunk, at=start + 0.5 + 0.02)  # jitter
    assert listener.seconds == start + 1.0
    listener.feed(chunk, at=start + 0.95)
    found = listener.feed(chunk, at=start + 3.0)
    assert found[-1].start == pytest.approx(start + 3.0, abs=1e-6)
    assert listener.counts.missing == pytest.approx(1.5, abs=1e-6)
    with pytest.raises(AudioError, match=r"must not go back"):
        listener.feed(chunk, at=start)
    assert listener.seconds == pytest.approx(start + 3.5, abs=1e-6)


def test_the_clock_does_not_drift(classifier: Classifier) -> None:
    """30 days in chunks of 10 ms at 44.1 kHz, whose length is no sum of powers of two."""
    listener = Listener(classifier, 44_100, hop=0.5)
    chunks = 30 * 24 * 3600 * 100
    listener._samples += chunks * 441  # as though they had been fed
    assert listener.seconds == 30 * 24 * 3600


def test_the_gate_keeps_silence_from_the_encoder(classifier: Classifier) -> None:
    rng = np.random.default_rng(0)
    loud = (0.1 * rng.standard_normal(16_000)).astype(np.float32)  # -20 dBFS
    faint = (0.001 * rng.standard_normal(64_000)).astype(np.float32)  # -60 dBFS
    samples = np.concatenate([faint, loud, faint])
    listener = Listener(classifier, 16_000, hop=0.25, gate=-40.0)
    found = heard(listener, cut(samples, [1_600]))
    whole = classifier.timeline(samples, 16_000, hop=0.25)
    assert [(s.start, s.end) for s in found] == [(s.start, s.end) for s in whole]
    for s, all_heard in zip(found, whole, strict=True):
        touches = s.end > 4.0 and s.start < 5.0  # where the loud second is
        assert bool(s.predictions) == touches
        if touches:
            same([s], [all_heard])
    assert listener.counts.windows == sum(bool(s.predictions) for s in found)
    assert listener.counts.windows + listener.counts.silent == len(found)
    with pytest.raises(ClapError, match="gate='quiet'"):
        Listener(classifier, 16_000, gate="quiet")  # type: ignore[arg-type]


def test_loudness_is_that_of_the_loudest_stretch() -> None:
    t = np.arange(16_000) / 16_000
    tone = np.sin(2 * np.pi * 100 * t).astype(np.float32)
    assert loudness(tone, 1_600) == pytest.approx(-3.0103, abs=1e-3)  # of a sine's RMS
    assert loudness(np.ones(10, np.float32), 3) == 0.0
    assert loudness(np.zeros(10, np.float32), 3) == -math.inf
    burst = np.zeros(16_000, np.float32)
    burst[-800:] = 0.5
    assert loudness(burst, 1_600) == pytest.approx(20 * math.log10(0.5) - 3.0103, abs=1e-3)
    assert loudness(burst[:-1], 799) == pytest.approx(20 * math.log10(0.5), abs=1e-3)
    assert loudness(burst[-800:], 100_000) == pytest.approx(20 * math.log10(0.5), abs=1e-3)


def test_labels_are_exchanged_while_it_runs(classifier: Classifier, tmp_path: Path) -> None:
    listener = Listener(classifier, 16_000, hop=0.5)
    samples = sound(32_000, np.float32, 1)
    before = listener.feed(samples[:16_000])
    listener.exchange(Classifier(classifier.encoder, ["sea", "the loud sea"]))
    after = listener.feed(samples[16_000:])
    assert {p.label for s in before for p in s.predictions} == set(tiny.LABELS)
    assert {p.label for s in after for p in s.predictions} == {"sea", "the loud sea"}
    wanted = listener.classifier.timeline(samples, 16_000, hop=0.5)
    same(after, wanted[len(before) :])
    other = tiny.build(tmp_path / "other", space_id="another")
    with (
        Classifier(other, ["dog"]) as stranger,
        pytest.raises(ClapError, match="same bundle and policy"),
    ):
        listener.exchange(stranger)


@pytest.mark.parametrize(
    ("chunk", "said"),
    [
        (np.array([0.0, np.nan, 0.1], np.float32), r"NaN or infinite samples \(1,"),
        (np.array([0.0, np.inf], np.float32), "NaN or infinite"),
        (np.full(10, 3_000.0, np.float32), "peak of 3000"),
        (np.zeros((2, 100), np.float32), r"2 channel\(s\) of float32.*had 1 of float32"),
        (np.zeros(100, np.int16), r"1 channel\(s\) of int16"),
        (np.zeros((2, 3, 4), np.float32), "no recording"),
        (np.zeros(100, "datetime64[s]"), "datetime64"),
        ([0.0, 0.1], "is a list"),
        (b"\0\0", "is a bytes"),
        (None, "is a NoneType"),
    ],
)
def test_a_chunk_that_is_none_changes_nothing(
    classifier: Classifier, chunk: Any, said: str
) -> None:
    listener = Listener(classifier, 16_000, hop=0.25)
    samples = sound(20_000, np.float32, 1)
    found = listener.feed(samples[:9_000])
    with pytest.raises(AudioError, match=said) as caught:
        listener.feed(chunk)
    assert "0.562 s of the stream" in str(caught.value)
    assert "\n" not in str(caught.value)
    found += listener.feed(samples[9_000:]) + listener.flush()
    same(found, classifier.timeline(samples, 16_000, hop=0.25))


def test_a_stream_that_changes_its_rate(classifier: Classifier) -> None:
    listener = Listener(classifier, 16_000)
    listener.feed(np.zeros(100, np.float32), 16_000)
    with pytest.raises(AudioError, match="sample rate of 8000 Hz, and the stream had 16000"):
        listener.feed(np.zeros(100, np.float32), 8_000)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"hop": 0.0}, "hop=0.0"),
        ({"hop": math.nan}, "hop=nan"),
        ({"hop": 1e-9}, "at least one sample"),
        ({"sample_rate": 44.1}, "44.1"),
        ({"sample_rate": 8}, "8 Hz"),
        ({"top_k": 0}, "top_k=0"),
    ],
)
def test_arguments_out_of_range(
    classifier: Classifier, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ClapError, match=said):
        Listener(classifier, **{"sample_rate": 16_000, **arguments})
    with pytest.raises(ClapError, match="positive length"):
        Listener(classifier, 16_000).gap(-1.0)


def test_what_was_found_before_an_engine_failed_is_kept(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the clock goes on as though nothing had been."""
    original = type(classifier.encoder).embed_windows
    calls = 0

    def failing(self: Any, batch: np.ndarray, *args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise BackendError("the engine is gone")
        return original(self, batch, *args, **options)

    monkeypatch.setattr(type(classifier.encoder), "embed_windows", failing)
    listener = Listener(classifier, 16_000, hop=0.1)
    with pytest.raises(BackendError, match="gone"):
        listener.feed(sound(40_000, np.float32, 1))
    assert [s.start for s in listener.flush()] == pytest.approx(
        [i / 10 for i in range(classifier.encoder.batch_size)]
    )
    (again,) = listener.feed(sound(8_000, np.float32, 1))
    assert (again.start, again.end) == (2.5, 3.0)


def test_memory_does_not_grow(classifier: Classifier) -> None:
    """Silence for five minutes; the buffers are there after the first seconds."""
    listener = Listener(classifier, 48_000, hop=0.5, gate=-60.0)
    chunk = np.zeros((2, 9_600), np.int16)
    tracemalloc.start()
    try:
        for i in range(1_500):
            listener.feed(chunk)
            if i == 100:
                before, _ = tracemalloc.get_traced_memory()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 50_000
    assert peak < before + 4_000_000
    assert listener.counts.windows == 0
    assert listener.counts.silent == 2 * 300 - 1  # the resampler holds a few samples back


def test_two_listeners_share_an_engine(classifier: Classifier) -> None:
    samples = [sound(40_000, np.float32, 1, seed=i) for i in range(3)]
    found: dict[int, list[Segment]] = {}

    def work(i: int) -> None:
        found[i] = heard(Listener(classifier, 16_000, hop=0.1), cut(samples[i], [500 + i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(3):
        same(found[i], classifier.timeline(samples[i], 16_000, hop=0.1))


def test_multilabel_scores_are_those_of_the_timeline(tmp_path: Path) -> None:
    folder = tiny.build(tmp_path / "tiny", calibration=Calibration(12.0, -3.0))
    samples = sound(30_000, np.float32, 1)
    with Classifier(folder, tiny.LABELS, scores="multilabel", threshold=0.3) as classifier:
        wanted = classifier.timeline(samples, 16_000, hop=0.3, top_k=2)
        listener = Listener(classifier, 16_000, hop=0.3, top_k=2)
        same(heard(listener, cut(samples, [999])), wanted)


@pytest.mark.slow
def test_a_day_of_sound(classifier: Classifier) -> None:
    """24 hours of stereo in chunks of ten seconds, a second of noise in each minute: memory is
    flat, no second is lost, and each event is where its noise was."""
    rng = np.random.default_rng(0)
    noise = (0.1 * rng.standard_normal((2, tiny.RATE)) * 32767).astype(np.int16)
    silence = np.zeros((2, 10 * tiny.RATE), np.int16)
    loud = np.concatenate([noise, silence[:, : 9 * tiny.RATE]], axis=1)
    listener = Listener(classifier, tiny.RATE, hop=0.5, gate=-60.0)
    events = Events(Rule(0.01), only=[tiny.LABELS[0]])  # on in all that is heard
    ended: list[Event] = []
    sizes: list[int] = []
    for chunk in range(24 * 360):
        for segment in listener.feed(loud if chunk % 6 == 3 else silence):
            ended += [e for e in events.push(segment) if e.phase == "ended"]
        if chunk % 360 == 359:
            sizes.append(resident())
    for segment in listener.flush():
        events.push(segment)
    ended += [e for e in events.finish() if e.phase == "ended"]
    assert [(e.start, e.end) for e in ended] == [(60 * i + 30, 60 * i + 31) for i in range(1440)]
    assert listener.seconds == 24 * 3600
    assert listener.counts.windows == 2 * 1440
    assert listener.counts.silent == 2 * (24 * 3600 - 1440)
    assert max(sizes) - sizes[0] < 8 << 20


def resident() -> int:
    """Bytes of this process that are in memory now."""
    import psutil

    return int(psutil.Process().memory_info().rss)
