"""The verb ``embed``: recordings into a library.

Only click is imported here, as in :mod:`clap_export.cli`.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clap_export.cli import options
from clap_export.cli.options import PATH
from clap_export.command import terminal
from clap_export.command.ending import BAD_INPUT, DONE

if TYPE_CHECKING:
    from clap_export.library.embed import Summary
    from runtime import Encoder
    from runtime.library.description import Description

SHOWN = 20  # errors that are named


@dataclass(frozen=True)
class EmbedRequest:
    """What was asked of ``embed``; see the command's options.

    Attributes:
        sources: as typed; see :mod:`clap_export.library.sources`.
        store: numbers of the vectors; None for the library's own, or float32.
        each_window: None for the library's own, or no.
        windows: name of a policy; None for the library's own, or the bundle's.
        max_seconds: longest recording, or None for any length.
        ray: address of a Ray cluster, empty for the one that is known here; None for no cluster.
    """

    bundle: Path
    sources: tuple[str, ...]
    out: Path
    store: Any
    each_window: bool | None
    windows: str | None
    retry: bool
    prune: bool
    batch_size: int | None
    decode_threads: int
    provider: str | None
    threads: int | None
    max_seconds: float | None
    public_key: Path | None
    ray: str | None

    def encoder(self, library: Description | None) -> Encoder:
        """The encoder that was asked for."""
        from runtime import Bundle, Encoder

        own = library.policy if library is not None else None
        longest: dict[str, Any] = {}
        if self.max_seconds is not None:
            longest["max_seconds"] = self.max_seconds
        # Workers find it from folders of their own.
        folder = self.bundle if self.ray is None else self.bundle.absolute()
        return Encoder(
            Bundle(folder, public_key=self.public_key), windows=self.windows or own,
            providers=self.provider and (self.provider,), threads=self.threads,
            **longest,
        )  # fmt: skip

    def cluster(self) -> AbstractContextManager[None]:
        """The connection to the cluster that was asked for."""
        if self.ray is None:
            return nullcontext()
        from clap_export.library.ray import cluster

        return cluster.connected(self.ray or None)


@click.command()
@click.argument("bundle", type=PATH)
@click.argument("sources", type=str, nargs=-1, required=True)
@click.option("--out", type=PATH, required=True, help="Folder of the library, new or not.")
@click.option(
    "--store", type=click.Choice(["float32", "float16", "int8"]),
    help="Numbers of the vectors.  [default: the library's, of a new one float32]",
)  # fmt: skip
@click.option(
    "--each-window",
    is_flag=True,
    default=None,
    help="Keep the vectors of windows too, with times.",
)
@click.option(
    "--windows", metavar="NAME",
    help="Which windows of a recording are heard and how they are pooled; see classify.  "
    "[default: the library's, of a new one the bundle's]",
)  # fmt: skip
@click.option("--retry", is_flag=True, help="Try again what could not be used before.")
@click.option("--prune", is_flag=True, help="Take out what has vanished, in place of marking it.")
@options.batch_size_option
@click.option(
    "--decode-threads", type=click.IntRange(1, 1024), default=2, show_default=True,
    help="That load and resample; not used where each recording has a core of its own.",
)  # fmt: skip
@options.max_seconds_option
@click.option(
    "--ray", is_flag=False, flag_value="", metavar="[ADDRESS]",
    help="Work on a Ray cluster: at this address, or without one at RAY_ADDRESS, at that of this "
    "machine, or on this machine alone. --threads are then the CPUs of an encoder.",
)  # fmt: skip
@options.public_key_option
@options.provider_option
@options.threads_option
@options.json_option
def embed(as_json: bool, **given: Any) -> int:
    """Embed all recordings of SOURCES into a library of Parquet files.

    SOURCES are recordings, folders of them, patterns, listings (.csv, .jsonl or .parquet with a
    column "path"), shards of WebDataset (.tar), or - for a list of paths on standard input, one a
    line. Recordings that are in the library and unchanged are not embedded again; a command that
    was stopped goes on where it was. What cannot be used is a row with its error, and the exit code
    is 2 when all others are done.
    """
    request = EmbedRequest(**given)
    from clap_export.cli import show

    with show.stages() as progress:
        summary = _embedded(request, progress)
    if as_json:
        _print_json(summary)
    else:
        _print(summary, request.out)
    bad = summary.failed or summary.known_bad or summary.problems
    return BAD_INPUT if bad else DONE


def _embedded(request: EmbedRequest, progress: Any) -> Summary:
    from clap_export.library import sources, store
    from clap_export.library.embed import Work, described, embed
    from runtime.library import description

    there = (request.out / description.LIBRARY).exists()
    library = description.read(request.out) if there else None
    kind = request.store or (library.store if library else "float32")
    each = request.each_window or bool(library and library.each_window)
    work = Work(request.batch_size, request.decode_threads, request.retry, request.prune)
    with request.cluster(), request.encoder(library) as encoder:
        wanted = described(encoder, request.bundle, kind, each)
        progress("looking for recordings")
        found = sources.find(request.sources, sys.stdin)
        with store.opened(request.out, wanted) as opened:
            if request.ray is None:
                return embed(encoder, opened, found, work, progress)
            from clap_export.library.ray import Workers, spread

            workers = Workers(request.threads or 1)
            return spread.spread(encoder, opened, found, work, progress, workers)


def _print(summary: Summary, out: Path) -> None:
    rate = summary.embedded / summary.seconds if summary.embedded else 0.0
    said = [f"{summary.embedded:,} embedded ({rate:.1f} a second)"]
    said.append(f"{summary.unchanged:,} unchanged")
    if summary.vanished:
        said.append(f"{summary.vanished:,} vanished")
    bad = len(summary.failed) + summary.known_bad
    if bad:
        said.append(f"{bad:,} could not be used")
    terminal.say(f"{summary.listed:,} recordings: {', '.join(said)} -> {out}")
    for line in (*summary.problems, *summary.failed)[:SHOWN]:
        terminal.warn(f"Error: {line}")
    more = len(summary.failed) + len(summary.problems) - SHOWN
    if more > 0:
        terminal.warn(f"… and {more:,} more; the column 'error' has all of them.")
    if summary.known_bad:
        terminal.warn(
            f"{summary.known_bad:,} could not be used before and are unchanged; --retry tries them "
            "again."
        )


def _print_json(summary: Summary) -> None:
    from dataclasses import asdict

    terminal.say_json(asdict(summary))
