"""What hears a stream: one thread reads it, another hears it and tells what happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clap_export.cli.listening.address import without_secrets
from clap_export.cli.listening.outputs import Summary, all_of, time_of_day
from clap_export.timelines.journals import Heard
from clap_export.timelines.timeline import Band
from runtime import Listener
from runtime.listening.backlog import Stopped

if TYPE_CHECKING:
    from clap_export.cli.listening.inputs import Input
    from clap_export.cli.listening.outputs import Output
    from clap_export.cli.listening.settings import Loaded, Watch
    from runtime import Classifier, Event, Events, Segment
    from runtime.listening.backlog import Backlog, Piece


@dataclass(frozen=True)
class Stream:
    """What is heard, and how.

    Attributes:
        source: as it was asked for.
        live: its time is that of the clock on the wall.
        hop: seconds between windows.
        gate: dBFS under which the encoder is skipped, or None.
        only: labels of which events are told; none for all.
    """

    source: str
    live: bool
    hop: float
    gate: float | None
    only: tuple[str, ...]


def read(source: Input, backlog: Backlog) -> None:
    """The work of the thread that reads."""
    try:
        with closing(source.pieces()) as pieces:
            for piece in pieces:
                backlog.put(piece)
        backlog.end()
    except Stopped:
        pass
    except BaseException as error:  # it is raised in the thread that hears
        backlog.end(error)


class Hearing:
    """A stream on its way from pieces to what is told of it.

    Args:
        stream: that is heard.
        events: of which it is made up.
        output: that is told.
        watch: brings other labels and rules, if any.
    """

    def __init__(self, stream: Stream, events: Events, output: Output, watch: Watch | None) -> None:
        self._stream, self._events, self._output, self._watch = stream, events, output, watch
        self._classifier: Classifier | None = None
        self._listener: Listener | None = None
        self._began = 0.0  # by the clock on the wall
        self._ended = 0  # events

    def use(self, loaded: Loaded) -> None:
        """Listen for other labels, by other rules, from the next window on."""
        self._classifier = loaded.classifier
        if self._listener is not None:
            self._listener.exchange(loaded.classifier)
        rule, only = self._events.rule, self._stream.only or None
        self._events.change(rule, rules=loaded.rules, only=only)

    def run(self, backlog: Backlog, signals: Sequence[int]) -> None:
        """Hear all of it, and tell what is open when it ends, however it ends.

        Raises:
            ClapError: the input or the engine failed.
        """
        why, failure = "input", None
        try:
            for piece in backlog:
                self._hear(piece)
        except Exception as error:
            why, failure = str(error), error
        if signals:
            why = "signal"
        try:
            self._finish()
        except Exception as error:
            failure = failure or error
        self._output.end(self._summary(why, backlog.dropped))
        if failure is not None:
            raise failure

    def _hear(self, piece: Piece) -> None:
        listener = self._listener or self._begin(piece)
        new = None if self._watch is None else self._watch.taken()
        if new is not None:
            self.use(new)
            self._output.exchanged(len(new.classifier.labels), listener.seconds)
        if piece.gap:
            self._output.gap(listener.seconds, piece.gap)
            self._tell(listener.gap(piece.gap))
        self._tell(listener.feed(piece.samples, piece.rate))

    def _begin(self, piece: Piece) -> Listener:
        assert self._classifier is not None
        self._began = time.time() - piece.seconds
        listener = self._listener = Listener(
            self._classifier, piece.rate, hop=self._stream.hop, gate=self._stream.gate
        )
        spec = self._classifier.manifest.audio
        high = min(spec.mel.f_max, spec.sample_rate / 2, piece.rate / 2)
        band = Band(min(spec.mel.f_min, high), high)
        self._output.begin(Heard(without_secrets(self._stream.source), band))
        return listener

    def _tell(self, segments: Sequence[Segment]) -> None:
        for segment in segments:
            changed = self._events.push(segment)
            self._output.segment(segment, self._events)
            self._tell_events(changed)

    def _tell_events(self, changed: Sequence[Event]) -> None:
        def one(event: Event) -> Callable[[], None]:
            at = time_of_day(self._began + event.start) if self._stream.live else None
            return lambda: self._output.event(event, at)

        self._ended += sum(event.phase == "ended" for event in changed)
        all_of([one(event) for event in changed])

    def _finish(self) -> None:
        try:
            if self._listener is not None:
                self._tell(self._listener.flush())
        finally:
            self._tell_events(self._events.finish())

    def _summary(self, why: str, dropped: float) -> Summary:
        if self._listener is None:
            return Summary(why, 0.0, 0, 0, 0.0, dropped, 0)
        counts = self._listener.counts
        return Summary(
            why, self._listener.seconds, counts.windows, counts.silent,
            counts.missing + counts.bridged, dropped, self._ended,
        )  # fmt: skip
