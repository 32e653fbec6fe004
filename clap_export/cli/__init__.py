"""The command line: one file a family of verbs; what it prints is made in `show` and `results`.

Only click is imported before a verb works, so that ``--help`` is quick and works without torch.
"""

from __future__ import annotations

from typing import Any

import click

from clap_export import __version__
from clap_export.cli import export, options
from clap_export.cli.verbs import Verbs

VERBS = {
    "build": "engines",
    "verify": "trust",
    "inspect": "trust",
    "sign": "trust",
    "eval": "trust",
    "labels": "classify",
    "classify": "classify",
    "listen": "listen",
    "serve": "serve",
    "slim": "slim",
    "embed": "embed",
    "search": "search",
    "tag": "tag",
    "head": "head",
    "index": "index",
    "freeze": "freeze",
    "conformance": "conformance",
    "triton": "triton",
    "tune": "tune",
    "bench": "bench",
    "demo": "demo",
}


@click.group(cls=Verbs, verbs=VERBS, invoke_without_command=True)
@click.version_option(__version__, prog_name="clap-export")
@export.all_options
@click.pass_context
def main(ctx: click.Context, **given: Any) -> int | None:
    """Put CLAP models into production.

    With --ckpt: export a checkpoint to a bundle and verify it.

    Exit codes of all commands: 0 done; 1 a gate failed; 2 bad input, in one sentence; 70 a fault
    of clap-export's own; 129, 130, 143 ended by a signal; 141 the reader of the output went away.
    """
    typed = options.typed(ctx)
    if ctx.invoked_subcommand is not None:
        if typed:
            raise click.UsageError(
                f"{', '.join(typed)}: the options of an export, which stand before a verb, do not "
                f"go with {ctx.invoked_subcommand}."
            )
        return None
    if not typed:
        click.echo(ctx.get_help())
        return None
    return export.run(export.ExportRequest.of(given), given["as_json"])
