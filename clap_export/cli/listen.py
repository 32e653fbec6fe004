"""Hear a stream: the verb ``listen``."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clap_export.cli import options
from clap_export.cli.classify import labels_of
from clap_export.cli.options import PATH
from clap_export.command.ending import DONE

if TYPE_CHECKING:
    from clap_export.cli.listening.inputs import Input
    from clap_export.cli.listening.outputs import Output
    from runtime import Classifier, Event, Events, Listener, Segment
    from runtime.listening.backlog import Backlog, Piece

PATIENCE = 2.0  # seconds that the reading thread has to end


@dataclass(frozen=True)
class ListenRequest:
    """What was asked of ``listen``; see :class:`runtime.Listener` and :class:`runtime.Events` for
    what is not said here.

    Attributes:
        source: as typed; see :func:`clap_export.cli.listening.inputs.chosen`.
        labels: as typed; see :func:`clap_export.cli.classify.labels_of`.
        backlog: seconds that may wait before the oldest are dropped; None is 10 for live inputs,
            while others are made to wait.
        reconnect: open an address again when it ends.
        post: address that events are posted to.
        segments: tell of each window too.
    """

    bundle: Path
    labels: str
    source: str
    rate: int | None
    channels: int | None
    pcm: Any
    templates: tuple[str, ...]
    hop: float
    scores: Any
    on: float
    off: float | None
    minimum: float
    gap: float
    smooth: int
    smoothing: Any
    gate: float | None
    only: tuple[str, ...]
    backlog: float | None
    reconnect: bool
    post: str | None
    segments: bool
    provider: str | None
    threads: int | None
    public_key: Path | None

    def input(self) -> Input:
        """What is listened to; nothing is opened yet."""
        from clap_export.cli.listening.inputs import Format, chosen

        return chosen(self.source, Format(self.rate, self.channels, self.pcm), self.reconnect)

    def events(self) -> Events:
        """What counts as an event."""
        from runtime import Events, Rule

        return Events(
            Rule(self.on, self.off, self.minimum, self.gap),
            only=self.only or None, smooth=self.smooth, smoothing=self.smoothing,
        )  # fmt: skip

    def classifier(self) -> Classifier:
        """What hears it."""
        from runtime import Bundle, Classifier

        signed = self.public_key and Bundle(self.bundle, public_key=self.public_key)
        made = Classifier(
            signed or self.bundle, labels_of(self.labels), templates=self.templates or None,
            scores=self.scores, providers=self.provider and (self.provider,), threads=self.threads,
        )  # fmt: skip
        made.encoder.policy.timeline(made.manifest.audio, self.hop)  # says now what is no hop
        unknown = [name for name in self.only if name not in made.labels]
        if unknown:
            raise click.UsageError(
                f"--only {', '.join(map(repr, unknown))}: not among the labels, which are "
                f"{', '.join(map(repr, made.labels[:8]))}{' …' if len(made.labels) > 8 else ''}."
            )
        if len(made.labels) == 1 and self.scores == "softmax":
            raise click.UsageError(
                f"softmax over one label, {made.labels[0]!r}, is always 1: name others that it is "
                "told from, or pass --scores cosine with --on."
            )
        return made

    def output(self, as_json: bool) -> Output:
        """Where it is told."""
        from clap_export.cli.listening import outputs
        from clap_export.cli.listening.webhook import Webhook

        hook = None if self.post is None else Webhook(self.post)
        made: Output
        if as_json:
            made = outputs.JsonLines(self.segments)
        else:
            made = outputs.LiveTable() if sys.stdout.isatty() else outputs.Lines()
        return made if hook is None else outputs.Posted(made, hook)


@click.command()
@click.argument("bundle", type=PATH)
@click.option(
    "--labels", required=True,
    help="Names between commas (a,b,c), or a file of them: see classify --help.",
)  # fmt: skip
@click.option(
    "--input", "source", default="-", show_default=True, metavar="-|FILE|device:NAME|URL",
    help="What to hear: standard input, a file, a microphone (device: alone is the default one), "
    "or the address of a stream (rtsp://, rtsps://, http://, https://).",
)  # fmt: skip
@click.option(
    "--rate", type=click.IntRange(1), help="Hz of raw samples on standard input, or a microphone."
)
@click.option("--channels", type=click.IntRange(1, 32), help="Of raw samples, or a microphone.")
@click.option("--pcm", type=click.Choice(["s16le", "f32le"]), help="Type of raw samples.")
@options.template_option
@click.option("--hop", type=float, default=0.5, show_default=True, help="Seconds between windows.")
@click.option(
    "--scores", type=click.Choice(["softmax", "cosine", "multilabel"]), default="softmax",
    show_default=True, help="What the score is.",
)  # fmt: skip
@click.option("--on", type=float, default=0.5, show_default=True, help="Score: an event begins.")
@click.option("--off", type=float, help="Score below which it ends.  [default: that of --on]")
@click.option(
    "--min-duration", "minimum", type=float, default=0.0, show_default=True,
    help="Seconds; shorter events are dropped.",
)  # fmt: skip
@click.option(
    "--min-gap", "gap", type=float, default=0.0, show_default=True,
    help="Seconds; events that are less apart are one.",
)  # fmt: skip
@click.option(
    "--smooth", type=click.IntRange(1), default=1, show_default=True,
    help="Windows that scores are smoothed over, an odd number.",
)  # fmt: skip
@click.option(
    "--smoothing", type=click.Choice(["median", "mean"]), default="median", show_default=True
)
@click.option("--gate", type=float, help="dBFS (such as -50): skip the encoder in what is fainter.")
@click.option(
    "--only", type=options.TEXT, multiple=True,
    help="Label of which events are told; give it once for each.  [default: all]",
)  # fmt: skip
@click.option(
    "--backlog", type=float,
    help="Seconds that may wait for a slow machine before the oldest are dropped.  [default: 10 "
    "for microphones and addresses; files and standard input wait]",
)  # fmt: skip
@click.option(
    "--reconnect/--no-reconnect", default=True, show_default=True,
    help="Open an address again when it ends.",
)  # fmt: skip
@click.option("--post", metavar="URL", help="POST each event there as JSON (http:// or https://).")
@click.option("--segments", is_flag=True, help="With --json: the scores of each window too.")
@options.public_key_option
@options.provider_option
@options.threads_option
@options.json_option
def listen(as_json: bool, **given: Any) -> int:
    """Tell what happens in a stream of sound, while it happens.

    Ctrl-C and SIGTERM end it with exit code 0: what is open is written out before.
    """
    request = ListenRequest(**given)
    if request.segments and not as_json:
        raise click.UsageError("--segments needs --json.")
    from clap_export.cli.listening.stopping import gently
    from runtime.listening.backlog import Backlog

    source, events = request.input(), request.events()
    drop = source.live or request.backlog is not None
    backlog = Backlog(10.0 if request.backlog is None else request.backlog, drop=drop)
    output = request.output(as_json)
    with request.classifier() as classifier:
        hearing = _Hearing(request, classifier, events, output, source.live)
        with gently(backlog.stop) as signals:
            reader = threading.Thread(
                target=_read, args=(source, backlog), name="clap-read", daemon=True
            )
            reader.start()
            try:
                hearing.run(backlog, signals)
            finally:
                backlog.stop()
                if source.stop():
                    reader.join(PATIENCE)
    if source.warning is not None:
        from clap_export.command import terminal

        terminal.warn(f"Warning: {source.warning}")
    return DONE


def _read(source: Input, backlog: Backlog) -> None:
    """The work of the thread that reads."""
    from runtime.listening.backlog import Stopped

    try:
        with closing(source.pieces()) as pieces:
            for piece in pieces:
                backlog.put(piece)
        backlog.end()
    except Stopped:
        pass
    except BaseException as error:  # it is raised in the thread that hears
        backlog.end(error)


class _Hearing:
    """A stream on its way from pieces to what is told of it."""

    def __init__(
        self, request: ListenRequest, classifier: Classifier, events: Events, output: Output,
        live: bool,
    ) -> None:  # fmt: skip
        self._request, self._classifier = request, classifier
        self._events, self._output, self._live = events, output, live
        self._listener: Listener | None = None
        self._began = 0.0  # by the clock on the wall
        self._ended = 0  # events

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
        from runtime import Listener

        listener = self._listener
        if listener is None:
            self._began = time.time() - piece.seconds
            listener = self._listener = Listener(
                self._classifier, piece.rate, hop=self._request.hop, gate=self._request.gate
            )
        if piece.gap:
            self._output.gap(listener.seconds, piece.gap)
            self._tell(listener.gap(piece.gap))
        self._tell(listener.feed(piece.samples, piece.rate))

    def _tell(self, segments: Sequence[Segment]) -> None:
        for segment in segments:
            changed = self._events.push(segment)
            self._output.segment(segment, self._events.open)
            self._tell_events(changed)

    def _tell_events(self, changed: Sequence[Event]) -> None:
        from clap_export.cli.listening.outputs import time_of_day

        for event in changed:
            self._ended += event.phase == "ended"
            at = time_of_day(self._began + event.start) if self._live else None
            self._output.event(event, at)

    def _finish(self) -> None:
        try:
            if self._listener is not None:
                self._tell(self._listener.flush())
        finally:
            self._tell_events(self._events.finish())

    def _summary(self, why: str, dropped: float) -> Any:
        from clap_export.cli.listening.outputs import Summary

        if self._listener is None:
            return Summary(why, 0.0, 0, 0, 0.0, dropped, 0)
        counts = self._listener.counts
        return Summary(
            why, self._listener.seconds, counts.windows, counts.silent,
            counts.missing + counts.bridged, dropped, self._ended,
        )  # fmt: skip
