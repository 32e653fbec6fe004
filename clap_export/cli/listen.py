"""Hear a stream: the verb ``listen``."""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clap_export.cli import options
from clap_export.cli.options import OUTPUT, PATH
from clap_export.command import terminal
from clap_export.command.ending import BAD_INPUT, DONE

if TYPE_CHECKING:
    from clap_export.cli.listening.hearing import Stream
    from clap_export.cli.listening.inputs import Input
    from clap_export.cli.listening.outputs import Output
    from clap_export.cli.listening.settings import Loaded, Settings
    from runtime import Events

PATIENCE = 2.0  # seconds that the reading thread has to end


@dataclass(frozen=True)
class ListenRequest:
    """What was asked of ``listen``; see :class:`runtime.Listener` and :class:`runtime.Events` for
    what is not said here.

    Attributes:
        source: as typed; see :func:`clap_export.cli.listening.inputs.chosen`.
        labels: as typed; see :func:`clap_export.cli.classify.labels_of`.
        windows: name of a policy, or None for the bundle's.
        rule_texts: rules of single labels; see :mod:`clap_export.cli.listening.rules`.
        rules_file: more of them.
        watch: read the files of labels and rules again when they change.
        backlog: seconds that may wait before the oldest are dropped; None is the input's own, while
            those that are not live are made to wait.
        reconnect: open an address again when it ends.
        post: address that events are posted to.
        segments: tell of each window too.
        outputs: files of events.
        segment_outputs: files of windows.
        overwrite: replace files that are there.
    """

    bundle: Path
    labels: str
    source: str
    rate: int | None
    channels: int | None
    pcm: Any
    templates: tuple[str, ...]
    windows: str | None
    hop: float
    scores: Any
    on: float
    off: float | None
    minimum: float
    gap: float
    rule_texts: tuple[str, ...]
    rules_file: Path | None
    watch: bool
    smooth: int
    smoothing: Any
    gate: float | None
    only: tuple[str, ...]
    backlog: float | None
    reconnect: bool
    post: str | None
    segments: bool
    outputs: tuple[Path, ...]
    segment_outputs: tuple[Path, ...]
    overwrite: bool
    provider: str | None
    threads: int | None
    public_key: Path | None

    def __post_init__(self) -> None:
        from runtime.arguments import number

        if self.gate is not None:
            number("--gate", self.gate, "a number of dBFS, such as -50")
        wanted = "a positive number of seconds"
        if self.backlog is not None and not number("--backlog", self.backlog, wanted) > 0:
            raise click.UsageError(f"--backlog={self.backlog}: pass {wanted}.")

    def input(self) -> Input:
        """What is listened to; nothing is opened yet."""
        from clap_export.cli.listening.inputs import Format, chosen

        return chosen(self.source, Format(self.rate, self.channels, self.pcm), self.reconnect)

    def stream(self, source: Input) -> Stream:
        """How the input is heard."""
        from clap_export.cli.listening.hearing import Stream

        return Stream(self.source, source.live, self.hop, self.gate, self.only)

    def settings(self) -> Settings:
        """What is listened for."""
        from clap_export.cli.listening.settings import Settings
        from runtime import Rule

        made = Settings(
            self.labels, self.templates, self.scores,
            Rule(self.on, self.off, self.minimum, self.gap), self.rule_texts, self.rules_file,
            self.only,
        )  # fmt: skip
        if self.watch and not made.files:
            raise click.UsageError(
                "--watch looks at files: give --labels @FILE, --rules FILE, or both."
            )
        return made

    def events(self, settings: Settings) -> Events:
        """What counts as an event, without the rules of single labels."""
        from runtime import Events

        return Events(
            settings.rule, only=self.only or None, smooth=self.smooth, smoothing=self.smoothing
        )

    def load(self, settings: Settings) -> Loaded:
        """What hears it."""
        from runtime import Bundle

        signed = self.public_key and Bundle(self.bundle, public_key=self.public_key)
        found = settings.load(
            signed or self.bundle, providers=self.provider and (self.provider,),
            threads=self.threads, windows=self.windows,
        )  # fmt: skip
        made = found.classifier
        made.encoder.policy.timeline(made.manifest.audio, self.hop)  # says now what is no hop
        if self.windows is not None:
            terminal.warn(made.encoder.policy.streamed)
        return found

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
@click.option(
    "--windows", metavar="NAME",
    help="Policy, as of classify. What of it counts in a stream is said.  [default: the bundle's]",
)  # fmt: skip
@click.option("--hop", type=float, default=0.5, show_default=True, help="Seconds between windows.")
@options.scores_option
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
    "--rule", "rule_texts", multiple=True, metavar="LABEL:NAME=NUMBER,…",
    help="Of a single label: on, off, min-duration, min-gap, such as siren:on=0.8,min-duration=1. "
    "Give it once for each.",
)  # fmt: skip
@click.option(
    "--rules", "rules_file", type=PATH,
    help="TOML file of such rules, with a table for each label.",
)  # fmt: skip
@click.option(
    "--watch", is_flag=True,
    help="Read the files of --labels and --rules again when they change. A bad one is said, and "
    "what was read before stays.",
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
    "for microphones and cameras, 60 for http; files and standard input wait]",
)  # fmt: skip
@click.option(
    "--reconnect/--no-reconnect", default=True, show_default=True,
    help="Open an address again when it ends. Without, it is a recording, which waits.",
)  # fmt: skip
@click.option("--post", metavar="URL", help="POST each event there as JSON (http:// or https://).")
@click.option("--segments", is_flag=True, help="With --json: the scores of each window too.")
@click.option(
    "-o", "--output", "outputs", type=OUTPUT, multiple=True,
    help="File of events, by its ending: .csv, .jsonl, .txt (Audacity labels), .selections.txt "
    "(Raven), .vtt (subtitles), .parquet. Give it once for each.",
)  # fmt: skip
@click.option(
    "--segments-output", "segment_outputs", type=OUTPUT, multiple=True,
    help="File of the scores of each window: .csv, .jsonl or .parquet.",
)  # fmt: skip
@options.overwrite_option
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
    from clap_export.cli.listening import outputs, recorded
    from clap_export.cli.listening.hearing import Hearing, read
    from clap_export.cli.listening.settings import Watch
    from clap_export.cli.listening.stopping import gently
    from runtime.listening.backlog import Backlog

    source, settings = request.input(), request.settings()
    events = request.events(settings)
    drop = source.live or request.backlog is not None
    backlog = Backlog(source.backlog if request.backlog is None else request.backlog, drop=drop)
    files = recorded.several(request.outputs, request.segment_outputs, request.overwrite)
    printed = request.output(as_json)
    watch = None
    if request.watch:  # before the files are read: a change while the model is loaded is one too
        watch = Watch(settings.files, lambda: settings.load(loaded.classifier.encoder))
    loaded = request.load(settings)
    with ExitStack() as stack:
        stack.enter_context(loaded.classifier)
        for file in files:
            stack.callback(file.close)
        if watch is not None:
            watch.start()
            stack.callback(watch.stop)
        # Files first: their rows are there whatever becomes of standard output.
        hearing = Hearing(request.stream(source), events, outputs.Several((*files, printed)), watch)
        hearing.use(loaded)
        with gently(backlog.stop) as signals:
            reader = threading.Thread(
                target=read, args=(source, backlog), name="clap-read", daemon=True
            )
            reader.start()
            try:
                hearing.run(backlog, signals)
            finally:
                backlog.stop()
                if source.stop():
                    reader.join(PATIENCE)
    if source.warning is not None:
        terminal.warn(f"Warning: {source.warning}")
    return BAD_INPUT if any(file.failed for file in files) else DONE
