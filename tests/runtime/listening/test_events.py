"""Made-up scores to the events that follow, and a slow twin that sees all of them at once."""

from __future__ import annotations

import statistics
import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import Event, Events, Prediction, Rule, Segment
from runtime.errors import ClapError

SMALL = 1e-4  # what times may be off by


def segment(start: float, end: float, **scores: float) -> Segment:
    found = [Prediction(label, score, 0.0) for label, score in scores.items()]
    return Segment(start, end, sorted(found, key=lambda p: -p.score))


def track(
    scores: Sequence[float], hop: float = 1.0, window: float = 1.0, label: str = "dog"
) -> list[Segment]:
    """One label's score in windows that follow each other."""
    return [segment(i * hop, i * hop + window, **{label: s}) for i, s in enumerate(scores)]


def found(events: Events, segments: Sequence[Segment]) -> list[Event]:
    return [e for s in segments for e in events.push(s)] + events.finish()


def spans(events: Events, segments: Sequence[Segment]) -> list[tuple[float, float]]:
    """Where events were in the end."""
    return [(e.start, e.end) for e in found(events, segments) if e.phase == "ended"]


# ------------------------------------------------------------------ the slow twin


def shares(segments: Sequence[Segment]) -> list[tuple[float, float]]:
    """The stretch for which each window speaks."""
    result = []
    for i, s in enumerate(segments):
        low, high = s.start, s.end
        if i and s.start <= segments[i - 1].end + SMALL:
            before = segments[i - 1]
            low = max(low, ((before.start + before.end) / 2 + (s.start + s.end) / 2) / 2)
        if i + 1 < len(segments) and segments[i + 1].start <= s.end + SMALL:
            behind = segments[i + 1]
            high = min(high, ((behind.start + behind.end) / 2 + (s.start + s.end) / 2) / 2)
        result.append((low, high))
    return result


def slow_spans(
    segments: Sequence[Segment], label: str, rule: Rule, smooth: int, smoothing: str
) -> list[tuple[float, float, float]]:
    """Start, end and peak of each event, from all windows at once."""
    scores = [next((p.score for p in s.predictions if p.label == label), 0.0) for s in segments]
    # Stretches without a hole are smoothed by themselves.
    groups: list[list[int]] = []
    for i, s in enumerate(segments):
        if i and s.start <= segments[i - 1].end + SMALL:
            groups[-1].append(i)
        else:
            groups.append([i])
    half = smooth // 2
    mean = statistics.median if smoothing == "median" else statistics.fmean
    runs: list[list[float]] = []
    parts = shares(segments)
    for group in groups:
        on = False
        for at, i in enumerate(group):
            near = [scores[j] for j in group[max(0, at - half) : at + half + 1]]
            score = mean(near)
            was, on = on, score >= ((rule.off or rule.on) if on else rule.on)
            if on and was:
                runs[-1][1] = parts[i][1]
                runs[-1][2] = max(runs[-1][2], score)
            elif on:
                runs.append([*parts[i], score])
    merged: list[list[float]] = []
    for run in runs:
        if merged and run[0] - merged[-1][1] < rule.gap - SMALL:
            merged[-1][1:] = [run[1], max(merged[-1][2], run[2])]
        else:
            merged.append(run)
    return [(a, b, peak) for a, b, peak in merged if b - a >= rule.minimum - SMALL]


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_it_finds_what_the_slow_twin_finds(data: st.DataObject) -> None:
    hop = data.draw(st.sampled_from([0.5, 1.0, 3.0]))
    window = data.draw(st.sampled_from([0.5, 1.0, 2.0, 10.0]))
    levels = st.sampled_from([0.0, 0.2, 0.4, 0.5, 0.6, 0.9])
    count = data.draw(st.integers(0, 24))
    start, segments = 0.0, []
    for _ in range(count):
        names = data.draw(st.lists(st.sampled_from(["dog", "rain"]), unique=True, max_size=2))
        segments.append(
            segment(start, start + window, **{name: data.draw(levels) for name in names})
        )
        # A hole, or an aligned last window, now and then.
        start += data.draw(st.sampled_from([hop, hop, hop, hop, hop / 4, window + 1.3]))
    seconds = st.sampled_from([0.0, 0.6, 1.0, 2.5])
    on = data.draw(st.sampled_from([0.2, 0.5, 0.9]))
    off = data.draw(st.sampled_from([None, on, on / 2]))
    rule = Rule(on, off, data.draw(seconds), data.draw(seconds))
    smooth = data.draw(st.sampled_from([1, 3, 5]))
    smoothing = data.draw(st.sampled_from(["median", "mean"]))
    got = found(Events(rule, smooth=smooth, smoothing=smoothing), segments)
    for label in ("dog", "rain"):
        mine = [e for e in got if e.label == label]
        ended = [(e.start, e.end, e.peak) for e in mine if e.phase == "ended"]
        wanted = slow_spans(segments, label, rule, smooth, smoothing)
        assert len(ended) == len(wanted)
        for a, b in zip(ended, wanted, strict=True):
            assert a == pytest.approx(b, abs=SMALL)
        # Each began once, before it ended.
        assert [e.phase for e in mine] == ["began", "ended"] * len(wanted)
        assert [e.start for e in mine[::2]] == [e.start for e in mine[1::2]]


# ------------------------------------------------------------------ closed forms


def test_windows_side_by_side_speak_for_themselves() -> None:
    assert spans(Events(), track([0.1, 0.7, 0.6, 0.2, 0.9])) == [(1.0, 3.0), (4.0, 5.0)]


def test_overlapping_windows_speak_for_the_time_around_their_centres() -> None:
    """Windows of 10 s every 0.5 s: centres at 5.0, 5.5, …"""
    scores = [0.0] * 4 + [0.8] * 6 + [0.0] * 4
    assert spans(Events(), track(scores, 0.5, 10.0)) == [(6.75, 9.75)]
    # The first window has nobody before it, the last one nobody behind it.
    assert spans(Events(), track([0.8] * 3, 0.5, 10.0)) == [(0.0, 11.0)]


def test_windows_apart_speak_for_themselves_alone() -> None:
    assert spans(Events(), track([0.8, 0.8], 3.0, 1.0)) == [(0.0, 1.0), (3.0, 4.0)]
    assert spans(Events(Rule(gap=2.5)), track([0.8, 0.8], 3.0, 1.0)) == [(0.0, 4.0)]


def test_hysteresis() -> None:
    scores = [0.5, 0.6, 0.4, 0.35, 0.29, 0.4, 0.5, 0.6]
    assert spans(Events(Rule(0.6, 0.3)), track(scores)) == [(1.0, 4.0), (7.0, 8.0)]
    assert spans(Events(Rule(0.6)), track(scores)) == [(1.0, 2.0), (7.0, 8.0)]


def test_a_gap_is_bridged_before_the_length_is_asked() -> None:
    scores = [0.9, 0.0, 0.9, 0.0, 0.0, 0.9]
    assert spans(Events(Rule(gap=1.5)), track(scores)) == [(0.0, 3.0), (5.0, 6.0)]
    assert spans(Events(Rule(minimum=1.5)), track(scores)) == []
    assert spans(Events(Rule(gap=1.5, minimum=3.0)), track(scores)) == [(0.0, 3.0)]
    # Exactly the gap apart is apart; exactly the minimum is long enough.
    assert spans(Events(Rule(gap=1.0)), track(scores[:3])) == [(0.0, 1.0), (2.0, 3.0)]
    assert spans(Events(Rule(minimum=1.0)), track(scores[:1])) == [(0.0, 1.0)]


def test_rounding_decides_nothing() -> None:
    """Ten hops of 0.1 s are a second, although they do not sum to 1.0 in binary."""
    scores = [0.0, *[0.9] * 10, 0.0]
    ((start, end),) = spans(Events(Rule(minimum=1.0)), track(scores, 0.1, 0.1))
    assert end - start == pytest.approx(1.0)


def test_smoothing_is_centred() -> None:
    flicker = [0, 0, 0.9, 0, 0, 0.9, 0.9, 0, 0.9, 0.9, 0, 0]
    assert spans(Events(smooth=3), track(flicker)) == [(5.0, 10.0)]
    mean = Events(Rule(0.29), smooth=3, smoothing="mean")
    assert spans(mean, track([0, 0, 0.9, 0, 0])) == [(1.0, 4.0)]
    # At the ends over what there is.
    assert spans(Events(smooth=3), track([0.9, 0.9, 0.0])) == [(0.0, 2.0)]


def test_a_peak_is_the_highest_score_and_its_centre() -> None:
    (event,) = [e for e in found(Events(), track([0.6, 0.8, 0.7], 0.5)) if e.phase == "ended"]
    assert (event.peak, event.peak_at) == (0.8, 1.0)


def test_when_it_is_said() -> None:
    """At the first window that leaves no doubt."""
    events = Events(Rule(0.5, minimum=1.0, gap=1.0))
    said = [[(e.phase, e.start, e.end) for e in events.push(s)] for s in track(
        [0.0, 0.9, 0.9, 0.9, 0.0, 0.0, 0.0])]  # fmt: skip
    assert said == [[], [], [("began", 1.0, 2.5)], [], [], [("ended", 1.0, 4.0)], []]
    assert events.finish() == []
    # Without a minimum at once.
    (event,) = Events().push(track([0.9])[0])
    assert event == Event("dog", "began", 0.0, 0.5, 0.9, 0.5)


def test_what_is_open_ends_with_the_stream() -> None:
    events = Events()
    for s in track([0.0, 0.9, 0.7]):
        events.push(s)
    assert events.open == [Event("dog", "began", 1.0, 2.5, 0.9, 1.5)]
    assert events.finish() == [Event("dog", "ended", 1.0, 3.0, 0.9, 1.5)]
    assert events.open == []
    # Then it is as new: the clock may begin again.
    assert spans(events, track([0.9])) == [(0.0, 1.0)]


def test_behind_a_hole_everything_begins_anew() -> None:
    rule = Rule(0.8, 0.3)
    first, second = track([0.9, 0.5]), [segment(10 + i, 11 + i, dog=0.5) for i in range(3)]
    assert spans(Events(rule), [*first, *second]) == [(0.0, 2.0)]
    again = [segment(10 + i, 11 + i, dog=0.9) for i in range(3)]
    assert spans(Events(rule), [*first, *again]) == [(0.0, 2.0), (10.0, 13.0)]
    long = Rule(0.8, 0.3, gap=8.5)
    assert spans(Events(long), [*first, *again]) == [(0.0, 13.0)]
    # Smoothing does not look over it either.
    assert spans(Events(smooth=3), [*track([0.9, 0.9]), segment(9, 10, dog=0.0)]) == [(0.0, 2.0)]


def test_silence_ends_what_is_on() -> None:
    silent = [segment(2.0, 3.0), segment(3.0, 4.0)]
    assert spans(Events(), [*track([0.9, 0.9]), *silent]) == [(0.0, 2.0)]


def test_labels_that_are_exchanged_end() -> None:
    segments = [*track([0.9, 0.9]), segment(2, 3, rain=0.9), segment(3, 4, rain=0.9)]
    got = found(Events(), segments)
    assert [(e.label, e.phase, e.start, e.end) for e in got] == [
        ("dog", "began", 0.0, 0.5),
        ("dog", "ended", 0.0, 2.0),
        ("rain", "began", 2.0, 2.5),
        ("rain", "ended", 2.0, 4.0),
    ]


def test_rules_of_single_labels_and_the_allow_list() -> None:
    segments = [segment(i, i + 1, dog=0.4, rain=0.4, music=0.9) for i in range(2)]
    events = Events(rules={"dog": Rule(0.3)}, only=["dog", "rain"])
    assert [(e.label, e.phase) for e in found(events, segments)] == [
        ("dog", "began"),
        ("dog", "ended"),
    ]


def test_several_are_open_in_the_order_in_which_they_began() -> None:
    events = Events()
    events.push(segment(0, 1, rain=0.9))
    events.push(segment(1, 2, rain=0.9, dog=0.9))
    assert [e.label for e in events.open] == ["rain", "dog"]


def test_segments_that_go_back_are_refused() -> None:
    events = Events()
    events.push(segment(5, 6, dog=0.9))
    with pytest.raises(ClapError, match=r"at 4\.000 s came behind one at 5\.000 s"):
        events.push(segment(4, 5, dog=0.9))
    assert [e.label for e in events.open] == ["dog"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"on": 0.0}, "above 0"),
        ({"on": 0.4, "off": 0.5}, "not above `on`"),
        ({"on": 0.4, "off": 0.0}, "above 0"),
        ({"on": float("nan")}, "on=nan"),
        ({"on": "high"}, "on='high'"),
        ({"minimum": -1.0}, r"minimum=-1\.0"),
        ({"gap": float("inf")}, "gap=inf"),
    ],
)
def test_rules_that_are_none(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ClapError, match=said):
        Rule(**arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"smooth": 2}, "odd number"),
        ({"smooth": 0}, "smooth=0"),
        ({"smoothing": "mode"}, "'median' or 'mean'"),
        ({"only": "dog"}, "in a list"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ClapError, match=said):
        Events(**arguments)


def test_memory_does_not_grow() -> None:
    """Thousands of events, and of labels that come once."""
    rng = np.random.default_rng(0)
    events = Events(Rule(gap=1.0), smooth=3)
    tracemalloc.start()
    try:
        for i in range(3_000):
            if i == 1_000:
                before, _ = tracemalloc.get_traced_memory()
            label = f"label {i // 7}"
            events.push(segment(i, i + 1, **{label: float(rng.uniform()), "dog": 0.9}))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000
    assert len(events.open) <= 3
