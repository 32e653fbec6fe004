"""Where events are told: a live table, lines of text, JSON lines, and a web server."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from clap_export.cli.listening.webhook import Webhook
from clap_export.command import terminal
from clap_export.timelines.journals import Heard, told
from runtime import Event, Events, Segment, schema

if TYPE_CHECKING:
    from rich.live import Live

LONGEST = 12  # labels of the live table
BAR = 20  # characters


@dataclass(frozen=True)
class Summary:
    """What was heard when it is over.

    Attributes:
        ended: ``input`` when that ended, ``signal``, or the sentence of an error.
        seconds: of the stream, with its gaps.
        windows: given to the encoder.
        silent: windows that the loudness gate kept from it.
        missing: seconds that did not come, or were dropped.
        dropped: seconds that came and could not be heard in time.
        events: that ended.
        post: deliveries of ``--post``, or None.
    """

    ended: str
    seconds: float
    windows: int
    silent: int
    missing: float
    dropped: float
    events: int
    post: dict[str, int] | None = None


class Output(Protocol):
    """Is told what is heard, in order."""

    def begin(self, heard: Heard) -> None:
        """The first sound came."""
        ...

    def segment(self, segment: Segment, events: Events) -> None:
        """A window was heard, and the events know of it."""
        ...

    def event(self, event: Event, at: str | None) -> None:
        """An event began or ended; ``at`` is the time of day when it began, of live inputs."""
        ...

    def gap(self, start: float, seconds: float) -> None:
        """A stretch of the stream is missing."""
        ...

    def exchanged(self, labels: int, start: float) -> None:
        """So many labels are looked for from a time on, in place of others."""
        ...

    def end(self, summary: Summary) -> None:
        """It is over."""
        ...


class JsonLines:
    """One object a line on standard output.

    Args:
        segments: also one for each window.
    """

    def __init__(self, segments: bool) -> None:
        self._segments = segments

    def begin(self, heard: Heard) -> None:
        """Nothing."""

    def segment(self, segment: Segment, events: Events) -> None:
        """Its predictions, if they are wanted."""
        if self._segments:
            terminal.say_json({"type": "segment", **schema.to_plain(segment)})

    def event(self, event: Event, at: str | None) -> None:
        """All of it."""
        terminal.say_json(told(event, at))

    def gap(self, start: float, seconds: float) -> None:
        """Where, and how long."""
        terminal.say_json({"type": "gap", "start": start, "seconds": seconds})

    def exchanged(self, labels: int, start: float) -> None:
        """Since when, and how many."""
        terminal.say_json({"type": "labels", "start": start, "labels": labels})

    def end(self, summary: Summary) -> None:
        """The last line."""
        terminal.say_json({"type": "end", **asdict(summary)})


class Lines:
    """A line an event that ended, for a file or a pipe."""

    def begin(self, heard: Heard) -> None:
        """Nothing."""

    def segment(self, segment: Segment, events: Events) -> None:
        """Nothing."""

    def event(self, event: Event, at: str | None) -> None:
        """When it is over."""
        if event.phase == "ended":
            terminal.say(line(event, at))

    def gap(self, start: float, seconds: float) -> None:
        """On standard error."""
        terminal.warn(f"{start:.1f} s: {seconds:.1f} s are missing.")

    def exchanged(self, labels: int, start: float) -> None:
        """On standard error."""
        terminal.warn(f"{start:.1f} s: {labels} labels and their rules were read again.")

    def end(self, summary: Summary) -> None:
        """On standard error."""
        terminal.warn(sentence(summary))


class LiveTable:
    """A table of the labels at a terminal, under the events that ended."""

    def __init__(self) -> None:
        from clap_export.cli.console import PlainConsole

        self._console = PlainConsole(markup=False, emoji=False, highlight=False)
        self._live: Live | None = None  # from the first window on
        self._full, self._empty = ("█", "·") if terminal.is_utf8(sys.stdout) else "#-"
        self._shown = 0.0

    def begin(self, heard: Heard) -> None:
        """Nothing."""

    def segment(self, segment: Segment, events: Events) -> None:
        """What is heard now; a few times a second."""
        if time.monotonic() - self._shown < 0.1:
            return
        self._shown = time.monotonic()
        if self._live is None:
            from rich.live import Live

            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(self._table(segment, events.open), refresh=True)

    def event(self, event: Event, at: str | None) -> None:
        """Above the table, when it is over."""
        if event.phase == "ended":
            self._console.print(line(event, at))

    def gap(self, start: float, seconds: float) -> None:
        """Above the table."""
        self._console.print(f"{start:.1f} s: {seconds:.1f} s are missing.")

    def exchanged(self, labels: int, start: float) -> None:
        """Above the table."""
        self._console.print(f"{start:.1f} s: {labels} labels and their rules were read again.")

    def end(self, summary: Summary) -> None:
        """The table goes, and what was heard is said."""
        if self._live is not None:
            self._live.stop()
        terminal.warn(sentence(summary))

    def _table(self, segment: Segment, open_events: Sequence[Event]) -> Any:
        from clap_export.cli.console import cell, new_table

        table = new_table(
            "label", "", "score", "on since", title=f"{segment.start:.1f} - {segment.end:.1f} s",
            left=("label", ""),
        )  # fmt: skip
        since = {event.label: event.start for event in open_events}
        for p in segment.predictions[:LONGEST]:
            filled = round(BAR * max(0.0, min(1.0, p.score)))
            bar = self._full * filled + self._empty * (BAR - filled)
            on = f"{since[p.label]:.1f} s" if p.label in since else ""
            table.add_row(cell(p.label, "bold" if on else ""), bar, f"{p.score:.3f}", on)
        if not segment.predictions:
            table.add_row("(silence, or none of these)", "", "", "")
        return table


class Several:
    """All of some outputs, one after the other; one that fails keeps none from its turn."""

    def __init__(self, outputs: Sequence[Output]) -> None:
        self._outputs = tuple(outputs)

    def begin(self, heard: Heard) -> None:
        """To all."""
        all_of([partial(output.begin, heard) for output in self._outputs])

    def segment(self, segment: Segment, events: Events) -> None:
        """To all."""
        all_of([partial(output.segment, segment, events) for output in self._outputs])

    def event(self, event: Event, at: str | None) -> None:
        """To all."""
        all_of([partial(output.event, event, at) for output in self._outputs])

    def gap(self, start: float, seconds: float) -> None:
        """To all."""
        all_of([partial(output.gap, start, seconds) for output in self._outputs])

    def exchanged(self, labels: int, start: float) -> None:
        """To all."""
        all_of([partial(output.exchanged, labels, start) for output in self._outputs])

    def end(self, summary: Summary) -> None:
        """To all."""
        all_of([partial(output.end, summary) for output in self._outputs])


def all_of(calls: Sequence[Callable[[], None]]) -> None:
    """Make all calls.

    Raises:
        Exception: the first that one of them raised.
    """
    failure: Exception | None = None
    for call in calls:
        try:
            call()
        except Exception as error:
            failure = failure or error
    if failure is not None:
        raise failure


class Posted:
    """Each event to a web server, beside another output."""

    def __init__(self, output: Output, webhook: Webhook) -> None:
        self._output, self._webhook = output, webhook
        self.begin, self.segment = output.begin, output.segment
        self.gap, self.exchanged = output.gap, output.exchanged

    def event(self, event: Event, at: str | None) -> None:
        """To both."""
        self._output.event(event, at)
        self._webhook.put(told(event, at))

    def end(self, summary: Summary) -> None:
        """When the last are delivered, or given up."""
        hook = self._webhook
        hook.close()
        post = {"posted": hook.posted, "failed": hook.failed, "dropped": hook.dropped}
        self._output.end(Summary(**{**asdict(summary), "post": post}))


def line(event: Event, at: str | None) -> str:
    """An event for people."""
    when = "" if at is None else f"{at}  "
    return f"{when}{event.start:9.1f} - {event.end:9.1f} s  {event.peak:.2f}  {event.label}"


def sentence(summary: Summary) -> str:
    """A summary for people."""
    parts = [
        f"{summary.seconds:.1f} s heard in {summary.windows} windows", f"{summary.events} events",
    ]  # fmt: skip
    if summary.silent:
        parts.append(f"{summary.silent} windows were silent")
    if summary.missing:
        parts.append(f"{summary.missing:.1f} s are missing")
    if summary.dropped:
        parts.append(f"{summary.dropped:.1f} s of these were dropped: this machine is too slow")
    if summary.post:
        parts.append(", ".join(f"{count} {what}" for what, count in summary.post.items()))
    return "; ".join(parts) + "."


def time_of_day(seconds: float) -> str:
    """Seconds since 1970 as UTC, to the millisecond."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
