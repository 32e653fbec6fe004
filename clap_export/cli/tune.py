"""The verb ``tune``: what a bundle is best run with on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from clap_export.cli import options
from clap_export.cli.options import PATH
from clap_export.command.ending import DONE


@click.command()
@click.argument("bundles", metavar="BUNDLE...", type=PATH, nargs=-1, required=True)
@click.option("--clip", type=PATH, help="Recording to run.  [default: noise, which takes as long]")
@options.json_option
def tune(bundles: tuple[Path, ...], clip: Path | None, as_json: bool) -> int:
    """Find what BUNDLE is quickest with on this machine, and keep it for all who open it here.

    Engines for CPUs that are installed, threads and sizes of batches are timed in turn. The choice
    is written beside the bundle (BUNDLE.tuned.json), and holds where no --provider is given, for
    this CPU, its cores and these engines. Several bundles (one model in several precisions) take
    turns, and each gets its choice.
    """
    from clap_export.cli import show
    from clap_export.precision.tune import tune as tuned

    with show.stages() as progress:
        found = tuned(bundles, clip, progress)
    show.tuned_json(found) if as_json else show.tuned(found)
    return DONE
