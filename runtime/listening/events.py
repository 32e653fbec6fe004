"""Events: when a label began and ended, from the scores of windows as they come.

Three steps, each of which an array of scores would show in the same way:

1. A window speaks for its *share* of the time: that which is nearer to its centre than to those of
   its neighbours, and inside it. So overlapping windows do not count a moment twice, and windows
   that follow each other without overlap speak for themselves.
2. A window's score is smoothed with those of its neighbours, as many before as behind it.
3. A label is on from a score of ``on`` until one below ``off``. Stretches that are less than
   ``gap`` apart are one event, and events shorter than ``minimum`` are none.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from runtime.arguments import number, shown, whole
from runtime.classifier import Segment
from runtime.errors import ClapError

Phase = Literal["began", "ended"]
Smoothing = Literal["median", "mean"]
SILENCE = 0.0  # the score of a label that a segment does not have
MOST_SMOOTHED = 9_999  # windows that are held
ROUNDING = 1e-4  # seconds by which times may be off: more than a sample of a model


@dataclass(frozen=True)
class Rule:
    """When a label is an event.

    Attributes:
        on: score from which it is on; above 0, which is the score of silence, and at most 1.
        off: score below which it is off again; default that of ``on``.
        minimum: seconds; shorter events are dropped.
        gap: seconds; events that are less than this apart are one.

    Raises:
        ClapError: a value out of range, or an ``off`` above ``on``.
    """

    on: float = 0.5
    off: float | None = None
    minimum: float = 0.0
    gap: float = 0.0

    def __post_init__(self) -> None:
        on = number("on", self.on)
        off = on if self.off is None else number("off", self.off)
        if not 0.0 < off <= on <= 1.0:
            raise ClapError(
                f"on={shown(self.on)}, off={shown(self.off)}: pass scores above 0, which silence "
                "has, and up to 1, and an `off` that is not above `on`."
            )
        for name in ("minimum", "gap"):
            if number(name, getattr(self, name), "a number of seconds") < 0.0:
                raise ClapError(f"{name}={shown(getattr(self, name))}: pass at least 0 seconds.")

    @property
    def until(self) -> float:
        """Score below which a label is off."""
        return self.on if self.off is None else self.off


@dataclass(frozen=True)
class Event:
    """A label that was on; times in seconds on the clock of the segments.

    Attributes:
        label: its name.
        phase: ``began`` when it is known to be an event, ``ended`` when it is known to be over.
        start: when it began.
        end: when it ended; so far, of one that began.
        peak: its highest score, smoothed; so far, of one that began.
        peak_at: the centre of the window that has it.
    """

    label: str
    phase: Phase
    start: float
    end: float
    peak: float
    peak_at: float


class Events:
    """Finds events in segments that come one after the other, as of :class:`runtime.Listener` or
    :meth:`Classifier.timeline`.

    Segments must have the scores of all labels: give their classifier no ``top_k``, ``threshold``
    or ``min_similarity``. A label that a segment lacks is as in silence there, so labels may be
    exchanged at any time. Behind a hole in the time everything begins anew. Memory does not grow.

    Args:
        rule: for every label.
        rules: for single labels, in place of it.
        only: labels of which events are wanted; default all. The others take their part of a
            softmax, as "music" or "silence" may.
        smooth: windows that a score is smoothed over, an odd number. Decisions are made
            ``smooth // 2`` windows later.
        smoothing: ``median`` or ``mean``; at the ends over the windows that there are.

    Raises:
        ClapError: an argument is out of range.
    """

    def __init__(
        self,
        rule: Rule | None = None,
        *,
        rules: Mapping[str, Rule] | None = None,
        only: Collection[str] | None = None,
        smooth: int = 1,
        smoothing: Smoothing = "median",
    ) -> None:
        self.change(rule, rules=rules, only=only)
        if whole("smooth", smooth, most=MOST_SMOOTHED) % 2 == 0:
            raise ClapError(f"smooth={smooth}: pass an odd number of windows.")
        if smoothing not in get_args(Smoothing):
            raise ClapError(f"smoothing={shown(smoothing)}: pass 'median' or 'mean'.")
        self._smoother = _Smoother(smooth, smoothing)
        self._states: dict[str, _State] = {}
        self._before: Segment | None = None  # the last one that was decided

    @property
    def open(self) -> list[Event]:
        """Those that have begun and not ended, in the order in which they began."""
        found = [state.event("began") for state in self._states.values() if state.said]
        return sorted(found, key=lambda event: event.start)

    @property
    def rule(self) -> Rule:
        """For every label that has none of its own."""
        return self._rule

    @property
    def budding(self) -> float:
        """Start of the oldest stretch that is not long enough for an event yet; infinity if there
        is none."""
        starts = (state.start for state in self._states.values() if not state.said)
        return min(starts, default=math.inf)

    def change(
        self,
        rule: Rule | None = None,
        *,
        rules: Mapping[str, Rule] | None = None,
        only: Collection[str] | None = None,
    ) -> None:
        """Other rules from the next window on; what is on keeps the rule that it began with.

        Args:
            rule: for every label.
            rules: for single labels, in place of it.
            only: labels of which events are wanted; default all.

        Raises:
            ClapError: an argument is out of range.
        """
        if isinstance(only, str):
            raise ClapError(f"only={shown(only)}: pass several labels, in a list.")
        self._rule = Rule() if rule is None else rule
        self._rules = dict(rules or {})
        self._only = None if only is None else frozenset(only)

    def push(self, segment: Segment) -> list[Event]:
        """Events that began or ended, as far as the next segment shows.

        Args:
            segment: behind the ones before it.

        Returns:
            first those that ended.

        Raises:
            ClapError: it begins before the one before it.
        """
        newest = self._smoother.newest
        found: list[Event] = []
        if newest is not None and segment.start < newest.start:
            raise ClapError(
                f"a segment at {segment.start:.3f} s came behind one at {newest.start:.3f} s: give "
                "them in order of time."
            )
        if newest is not None and segment.start > newest.end + ROUNDING:  # a hole
            found += self._decided(self._smoother.rest())
            self._break()
        wanted = {
            p.label: p.score
            for p in segment.predictions
            if self._only is None or p.label in self._only
        }
        return found + self._decided(self._smoother.push(_Scored(segment, wanted)))

    def finish(self) -> list[Event]:
        """The end of the stream: all that is open ends."""
        found = self._decided(self._smoother.rest())
        self._break()
        for state in self._states.values():
            found += state.close()
        self._states.clear()
        return found

    def _break(self) -> None:
        """Nothing is next to the window before: its share ends where it ends."""
        if self._before is not None:
            for state in self._states.values():
                state.pause(self._before.end)
        self._before = None

    def _decided(self, windows: list[_Scored]) -> list[Event]:
        return [event for window in windows for event in self._decide(window)]

    def _decide(self, window: _Scored) -> list[Event]:
        """What a window with smoothed scores begins and ends."""
        segment, before = window.segment, self._before
        centre = _centre(segment)
        start = segment.start
        if before is not None:
            border = (_centre(before) + centre) / 2
            start = max(start, border)
            for state in self._states.values():
                state.settle(min(before.end, border))
        self._before = segment
        ended: list[Event] = []
        began: list[Event] = []
        for label in [*self._states, *(name for name in window.scores if name not in self._states)]:
            score = window.scores.get(label, SILENCE)
            state = self._states.get(label)
            if state is not None and state.is_over(score, start, centre):
                ended += state.close()
                del self._states[label]
                state = None
            if state is None:
                rule = self._rules.get(label, self._rule)
                if score < rule.on:
                    continue
                state = self._states[label] = _State(label, rule, start)
            began += state.hear(score, centre)
        return ended + began


@dataclass(frozen=True)
class _Scored:
    """A window, and scores of it by label."""

    segment: Segment
    scores: dict[str, float]


class _State:
    """A label that is on, or was less than its gap ago."""

    def __init__(self, label: str, rule: Rule, start: float) -> None:
        self._label, self._rule, self.start = label, rule, start
        self._end = start  # so far, while it is on
        self._on = True
        self._settled = True  # whether the end of its last share is known
        self._peak, self._peak_at = -math.inf, start
        self.said = False

    def settle(self, border: float) -> None:
        """Where the last window's share ends, now that the next one is known."""
        if not self._settled:
            self._end, self._settled = border, True

    def pause(self, end: float) -> None:
        """The last window is next to nothing."""
        self.settle(end)
        self._on = False

    def is_over(self, score: float, start: float, centre: float) -> bool:
        """Whether a window with this score, of this share, is no part of the event."""
        if self._on and score >= self._rule.until:
            return False
        # Not on, what comes next begins behind this window's centre.
        next_start = start if score >= self._rule.on else centre
        return next_start - self._end >= self._rule.gap - ROUNDING

    def hear(self, score: float, centre: float) -> list[Event]:
        """A window that does not end the event."""
        self._on = score >= (self._rule.until if self._on else self._rule.on)
        if not self._on:
            return []
        self._end, self._settled = centre, False
        if score > self._peak:
            self._peak, self._peak_at = score, centre
        if self.said or not self._is_long():
            return []
        self.said = True
        return [self.event("began")]

    def close(self) -> list[Event]:
        """What it was, if it was long enough."""
        if not self._is_long():
            return []
        ended = self.event("ended")
        return [ended] if self.said else [replace(ended, phase="began"), ended]

    def event(self, phase: Phase) -> Event:
        """As it is known now."""
        return Event(self._label, phase, self.start, self._end, self._peak, self._peak_at)

    def _is_long(self) -> bool:
        return self._end - self.start >= self._rule.minimum - ROUNDING


class _Smoother:
    """Scores of windows smoothed with as many before as behind."""

    def __init__(self, size: int, smoothing: Smoothing) -> None:
        import statistics  # it brings many others

        self._half = size // 2
        self._middle: Callable[[Sequence[float]], float] = (
            statistics.median if smoothing == "median" else statistics.fmean
        )
        self._recent: deque[_Scored] = deque(maxlen=size)
        self._waiting = 0  # of the recent ones, for those behind them

    @property
    def newest(self) -> Segment | None:
        """The last window that came."""
        return self._recent[-1].segment if self._recent else None

    def push(self, window: _Scored) -> list[_Scored]:
        """The window whose neighbours are known now."""
        self._recent.append(window)
        self._waiting += 1
        if self._waiting <= self._half:
            return []
        return [self._next()]

    def rest(self) -> list[_Scored]:
        """Those that wait, with the neighbours that they have; then it is as new."""
        found = [self._next() for _ in range(self._waiting)]
        self._recent.clear()
        return found

    def _next(self) -> _Scored:
        at = len(self._recent) - self._waiting
        near = list(self._recent)[max(0, at - self._half) : at + self._half + 1]
        self._waiting -= 1
        if len(near) == 1:
            return near[0]
        labels = dict.fromkeys(label for window in near for label in window.scores)
        scores = {
            label: self._middle([window.scores.get(label, SILENCE) for window in near])
            for label in labels
        }
        return _Scored(self._recent[at].segment, scores)


def _centre(segment: Segment) -> float:
    return (segment.start + segment.end) / 2
