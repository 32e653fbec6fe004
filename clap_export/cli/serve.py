"""Serve a bundle over HTTP: the verb ``serve``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clap_export.cli import options
from clap_export.cli.classify import LABEL_FILES, labels_of
from clap_export.cli.options import PATH
from clap_export.command.ending import DONE
from runtime.errors import ClapError

if TYPE_CHECKING:
    from clap_export.serve.gate import Access
    from clap_export.serve.service import Setup
    from clap_export.serve.source import Source
    from runtime import Encoder, LabelBank

MIB = 1 << 20
# Windows of a batch: a GPU fills itself with them; on a CPU none gets quicker, and the ones that
# wait behind a batch get slower.
ON_GPU, ON_CPU = 16, 1
WAITING = 4  # batches' worth of windows that wait for each lane


@dataclass(frozen=True)
class ServeRequest:
    """What was asked of ``serve``.

    Attributes:
        labels: as typed; see :func:`clap_export.cli.classify.labels_of`. The first are the default.
        lanes: batches at a time, or None for what suits the engine.
        max_batch: windows of a batch, or None for what suits the engine.
        max_wait_ms: that a window may wait for its batch to fill.
    """

    bundle: Path
    labels: tuple[str, ...]
    templates: tuple[str, ...]
    host: str
    port: int
    banks: Path | None
    allow_banks: bool
    api_key_file: Path | None
    cors_origin: tuple[str, ...]
    allow_host: tuple[str, ...]
    max_batch: int | None
    max_wait_ms: float
    lanes: int | None
    max_requests: int
    max_body: int
    max_seconds: float
    max_streams: int
    drain_seconds: float
    windows: str | None
    provider: str | None
    threads: int | None
    public_key: Path | None

    def __post_init__(self) -> None:
        if self.allow_banks and self.banks is None:
            raise click.UsageError("--allow-banks needs --banks DIR, where they are kept.")
        if self.bundle.suffix == ".onnx" and self.public_key is not None:
            raise click.UsageError("--public-key is for bundles: a tagger has no signature.")

    def source(self) -> Source:
        """What was asked for."""
        from clap_export.serve.source import Source

        return Source.of(self.bundle, self.public_key, self.provider)

    def encoder(self, source: Source) -> Encoder:
        """Its encoders."""
        from runtime import Encoder

        return Encoder(
            source.bundle, providers=self.provider and (self.provider,),
            threads=self.threads, windows=self.windows, max_seconds=self.max_seconds,
        )  # fmt: skip

    def access(self) -> Access:
        """Who may ask."""
        from clap_export.serve.gate import Access
        from clap_export.serve.keys import Keys

        keys = Keys() if self.api_key_file is None else Keys.read(self.api_key_file)
        return Access.of(self.host, keys, self.cors_origin, self.allow_host)

    def setup(self, source: Source, encoder: Encoder) -> Setup:
        """The service that was asked for."""
        from clap_export.serve.limits import Limits
        from clap_export.serve.scheduler import Plan
        from clap_export.serve.service import Setup

        if self.banks is not None and not self.banks.is_dir():
            raise ClapError(f"'{self.banks}' is no folder: make it first, for banks to be kept in.")
        lanes = self.lanes or encoder.many_at_once
        batch = self.max_batch or (ON_CPU if encoder.many_at_once > 1 else encoder.batch_size)
        plan = Plan(batch, self.max_wait_ms / 1000, lanes, WAITING * batch * lanes)
        # As many at a time as fill the batches that run, and those that come next.
        limits = Limits(
            requests=self.max_requests, quick=max(8, 2 * batch * lanes), body=self.max_body * MIB,
            seconds=self.max_seconds, listeners=self.max_streams,
        )  # fmt: skip
        return Setup(
            limits, plan, one_thread=lanes > 1 and self.threads is None,
            banks=self._banks(source, encoder), folder=self.banks, allow_banks=self.allow_banks,
            scores=source.scores, top_k=source.top_k,
        )  # fmt: skip

    def _banks(self, source: Source, encoder: Encoder) -> Mapping[str, LabelBank]:
        from runtime import LabelBank

        found: dict[str, LabelBank] = {}
        if source.bank is not None:
            found[_as_name(self.bundle.stem) or "tagger"] = source.bank
        for text in self.labels:
            labels = labels_of(text)
            if not isinstance(labels, LabelBank):
                labels = LabelBank.build(encoder, labels, self.templates or None)
            found[_name_of(text, len(found))] = labels
        if len(found) < len(self.labels) + (source.bank is not None):
            raise click.UsageError("--labels: two of the files have the same name.")
        return found


@click.command()
@click.argument("bundle", type=PATH)
@click.option(
    "--labels", multiple=True,
    help="Labels of requests that bring none: names between commas, or a file of them (see "
    "classify --help). Of several files each is a bank by its name, and the first the default.",
)  # fmt: skip
@options.template_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True,
    help="Port to listen on; 0 for any that is free.",
)  # fmt: skip
@click.option(
    "--banks", type=PATH, metavar="DIR", help="Folder of banks of labels that requests may name."
)
@click.option("--allow-banks", is_flag=True, help="Let clients make and remove banks there.")
@click.option(
    "--api-key-file", type=PATH, help="File with a key a line, one of which clients must send."
)
@click.option(
    "--cors-origin", multiple=True, metavar="ORIGIN",
    help="Site whose pages may ask, as https://example.org; once for each.  [default: none]",
)  # fmt: skip
@click.option(
    "--allow-host", multiple=True, metavar="NAME",
    help="Name that the server may be asked by; give it once for each.  [default: on a loopback "
    "address this machine's own, else any]",
)  # fmt: skip
@click.option(
    "--max-batch", type=click.IntRange(1, 1024),
    help="Windows given to the engine at once, of all requests.  [default: 16 on a GPU, on a CPU "
    "with a lane for each core 1]",
)  # fmt: skip
@click.option(
    "--max-wait-ms", type=click.FloatRange(0, 10_000), default=0.0, show_default=True,
    help="That a window may wait for others to fill its batch.",
)  # fmt: skip
@click.option(
    "--lanes", type=click.IntRange(1, 256),
    help="Batches that run at a time.  [default: one for each core where that is quickest, else 1]",
)  # fmt: skip
@click.option(
    "--max-requests", type=click.IntRange(1, 65536), default=256, show_default=True,
    help="Requests in the server at a time; others are told when to come again.",
)  # fmt: skip
@click.option(
    "--max-body", type=click.IntRange(1, 65536), default=1024, show_default=True,
    help="MiB of a recording's file.",
)  # fmt: skip
@click.option(
    "--max-seconds", type=click.FloatRange(1), default=6 * 3600.0, show_default=True,
    help="Of a recording.",
)  # fmt: skip
@click.option(
    "--max-streams", type=click.IntRange(1, 1024), default=16, show_default=True,
    help="Streams that are listened to at a time.",
)  # fmt: skip
@click.option(
    "--drain-seconds", type=click.FloatRange(0, 86_400), default=30.0, show_default=True,
    help="That requests have to end when the server is told to.",
)  # fmt: skip
@click.option(
    "--windows", metavar="NAME",
    help="Which windows of a recording are heard, where a request does not say: see classify "
    "--help.  [default: the bundle's own]",
)  # fmt: skip
@options.public_key_option
@options.provider_option
@options.threads_option
def serve(**given: Any) -> int:
    """Serve BUNDLE, or a tagger (.onnx, see freeze), over HTTP: classify, embed and listen, and a
    page at /.

    SIGTERM and Ctrl-C let requests end first; a second one ends at once.
    """
    request = ServeRequest(**given)
    from clap_export.serve import log
    from clap_export.serve.memory import few_arenas, settle
    from clap_export.serve.server import Place, Server
    from clap_export.serve.service import Service

    few_arenas()
    lines = log.begin()
    try:
        access, source = request.access(), request.source()
        with request.encoder(source) as encoder:
            service = Service(encoder, request.setup(source, encoder))
            try:
                place = Place(request.host, request.port, request.drain_seconds)
                server = Server(service, access, place)
                with server.bind() as listening:
                    service.warm()
                    settle()
                    log.say("ready", model=encoder.manifest.name, memory_limit=service.most_memory)
                    server.run_on(listening)
            finally:
                service.close()
    finally:
        lines.finish()
    return DONE


def _name_of(text: str, before: int) -> str:
    """Of a bank: the name of its file, as far as it may be one."""
    path = Path(text.removeprefix("@"))
    if not text.startswith("@") and path.suffix.lower() not in LABEL_FILES:
        return "default" if not before else f"default-{before + 1}"
    return _as_name(path.stem) or f"labels-{before + 1}"


def _as_name(stem: str) -> str:
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in stem)
    return name.lower().lstrip("._-")[:64]
