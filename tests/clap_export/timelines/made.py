"""Made-up timelines."""

from __future__ import annotations

from collections.abc import Iterable

from clap_export.timelines.timeline import Band, Timeline
from runtime import Prediction, Segment

# Labels that a careless writer would let be obeyed. A bank holds no control characters; other
# makers of predictions may.
ODD = [
    "dog", "=CMD|' /C calc'!A0", "+1", "-x", "@SUM(A1)", 'say "hi", twice', "a\tb", "two\nlines",
    "00:00:00.000 --> 00:00:09.000", "<b>&amp;</b>", "WEBVTT", "雨", "\\", "'", "\x1b[2J", "\r",
]  # fmt: skip


def segment(start: float, end: float, *scores: tuple[str, float]) -> Segment:
    return Segment(start, end, [Prediction(label, s, s / 2) for label, s in scores])


def timeline(segments: Iterable[Segment], file: str = "a.wav") -> Timeline:
    return Timeline(file, Band(50.0, 8000.0), segments)


def one_each(labels: list[str]) -> list[Segment]:
    """A window of a second for each."""
    return [segment(i, i + 1, (label, 0.5)) for i, label in enumerate(labels)]
