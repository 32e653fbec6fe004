"""The verb ``index``: a library's index, which search uses.

Only click is imported here, as in :mod:`clap_export.cli`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clap_export.cli import options
from clap_export.cli.options import PATH
from clap_export.command import terminal
from clap_export.command.ending import DONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clap_export.library.index.build import Built


@click.command()
@click.argument("library", type=PATH)
@click.option(
    "--engine", type=click.Choice(["usearch", "lancedb"]), default="usearch", show_default=True,
    help="That makes the index and reads it.",
)  # fmt: skip
@click.option("--remove", is_flag=True, help="Take the index away, in place of making one.")
@options.json_option
def index(library: Path, engine: Any, remove: bool, as_json: bool) -> int:
    """Index a LIBRARY, so that a search need not look at all of its recordings.

    It pays from some hundred thousand recordings on. An older index is replaced. What is embedded
    later is found too, by looking at all of it, until the library is indexed again.
    """
    from clap_export.cli import show
    from clap_export.library.index import build

    if remove:
        there = build.remove(library)
        if as_json:
            terminal.say_json({"removed": there})
        else:
            terminal.say(f"{library}: {'its index is gone' if there else 'it has no index'}")
        return DONE
    with show.stages() as progress:
        built = build.build(library, engine, progress)
    if as_json:
        from dataclasses import asdict

        terminal.say_json({"engine": engine, "built": [asdict(each) for each in built]})
    else:
        _print(built, library)
    return DONE


def _print(built: Sequence[Built], library: Path) -> None:
    from runtime.library.columns import RECORDINGS

    for each in built:
        of = "recordings" if each.of == RECORDINGS else "windows"
        terminal.say(
            f"{each.vectors:,} {of} indexed in {each.seconds:.1f} s, {each.bytes / 1e6:,.0f} MB "
            f"-> {library}"
        )
