"""``listen``: a stream in chunks to events."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from clap_export.conformance import signals
from clap_export.conformance.heads import KINDS, made
from clap_export.conformance.kit import Tolerance
from clap_export.conformance.limits import SECONDS
from clap_export.conformance.subject import Subject
from runtime.conformance.tasks import events_of, segments_of
from runtime.labels import LabelBank

# Two scenes with silence between them; lengths in windows, none of them a multiple of a hop.
BEFORE, SILENCE, BEHIND = 2.63, 1.71, 2.17
NAMES_BEFORE, NAMES_BEHIND = ("dog", "siren", "rain"), ("church bells", "dog")
SILENCE_DB = -60.0
TRIED = 16  # thresholds
SIZES = {
    "odd-chunks": (1, 2, 997, 160, 4_801, 0, 12_345),
    "small-chunks": (480,),
    "one-chunk": (1 << 40,),
}


def listen(subject: Subject) -> None:
    """Streams at the model's rate and another, gated, smoothed, with rules and gaps."""
    window = subject.window / subject.rate
    hop = window / 4
    rules: dict[str, dict[str, Any]] = {
        "plain": {},
        "median": {"smooth": 3, "smoothing": "median"},
        "mean": {"smooth": 5, "smoothing": "mean"},
        "minimum": {"rule": {"minimum": hop * 1.7}},
        "gap": {"rule": {"gap": hop * 2.3}},
        "hysteresis": {"rule": {"off": 0.5}},
        "gate": {"gate": SILENCE_DB},
        "gate-and-all": {
            "gate": SILENCE_DB, "smooth": 3, "rule": {"off": 0.7, "minimum": hop, "gap": hop}
        },
    }  # fmt: skip
    for name, more in rules.items():
        _asked(subject, name, subject.rate, "odd-chunks", hop, more)
    for name in SIZES:
        _asked(subject, f"{name}/44100", 44_100, name, hop, {})
    _asked(subject, "wide-hop", subject.rate, "small-chunks", window * 1.3, {})
    _asked(subject, "cosine", 44_100, "odd-chunks", hop, {"scores": "cosine"})
    for kind in KINDS:
        bank = made(subject, kind)
        _asked(subject, f"head-{kind}", subject.rate, "odd-chunks", hop, {"smooth": 3}, of=bank)
    gaps = [{"before": 4, "seconds": hop / 3}, {"before": 9, "seconds": window * 2}]
    _asked(subject, "gaps", subject.rate, "odd-chunks", hop, {"gaps": gaps}, optional=True)


def _asked(
    subject: Subject, name: str, rate: int, sizes: str, hop: float, more: dict[str, Any],
    optional: bool = False, of: LabelBank | None = None,
) -> None:  # fmt: skip
    before, silence, behind = (
        round(windows * subject.window * rate / subject.rate)
        for windows in (BEFORE, SILENCE, BEHIND)
    )
    stream = np.concatenate(
        [
            signals.scene(rate, before, NAMES_BEFORE),
            np.zeros(silence, np.float32),
            signals.scene(rate, behind, NAMES_BEHIND),
        ]
    )
    sound, count = subject.sound(stream, rate), len(stream)
    bank = of or subject.bank
    file = subject.saved("plain-labels" if of is None else f"heard-{name}", bank)
    given = subject.given(
        **sound, bank=file, hop=hop, chunks=list(_chunks(SIZES[sizes], count)), **more
    )
    score = subject.limits.score(given.get("scores"), rate, bank.head)
    given = _beyond_doubt(subject, given, score)
    limits = {"events": Tolerance("events", score, SECONDS)}
    subject.draft.ask(f"listen/{name}", given, limits, optional=optional)


def _chunks(sizes: Sequence[int], count: int) -> Iterator[int]:
    """Sizes of chunks, over and over, as far as the samples go."""
    for size in itertools.cycle(sizes):
        yield min(size, count)
        count -= min(size, count)
        if not count:
            return


def _beyond_doubt(subject: Subject, given: dict[str, Any], margin: float) -> dict[str, Any]:
    """A threshold at which the events are the same if all scores were off by their tolerance, and
    of those the one with the most events; ``off`` of the rule is a share of it."""
    share = given.get("rule", {}).get("off", 1.0)
    segments, _ = segments_of(subject.draft.reader, given)
    scores = sorted(found.score for segment in segments for found in segment.predictions)
    best, most = min(scores[-1] + 0.1, 1.0), -1
    for on in np.quantile(scores, np.linspace(0.55, 0.99, TRIED)):
        if not 2 * margin < on <= 1 - margin:
            continue
        rule = {**given.get("rule", {}), "on": float(on), "off": float(on) * share}
        moved = [
            {**rule, "on": rule["on"] + on_by, "off": min(rule["off"] + off_by, rule["on"] + on_by)}
            for on_by in (-margin, 0, margin)
            for off_by in ((-margin, 0, margin) if share != 1.0 else (on_by,))
        ]
        seen = {_times(events_of(segments, {**given, "rule": other})) for other in moved}
        found = len(seen.pop()) if len(seen) == 1 else -1
        if found > most:
            best, most = float(on), found
    rule = {**given.get("rule", {}), "on": best}
    if share != 1.0:
        rule["off"] = best * share
    return {**given, "rule": rule}


def _times(events: list[dict[str, Any]]) -> tuple[tuple[Any, ...], ...]:
    return tuple((e["label"], e["start"], e["end"], e["peak_at"]) for e in events)
