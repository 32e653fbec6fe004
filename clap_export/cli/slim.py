"""The verb ``slim``: a bundle without its text encoder."""

from __future__ import annotations

from pathlib import Path

import click

from clap_export.cli import options
from clap_export.cli.options import PATH
from clap_export.command import terminal
from clap_export.command.ending import DONE


@click.command()
@click.argument("source", metavar="BUNDLE", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="Folder to make.")
@options.public_key_option
def slim(source: Path, output: Path, public_key: Path | None) -> int:
    """Copy BUNDLE without its text encoder, for devices that get their labels as saved banks.

    Make these with the whole bundle: clap-export labels. A signature is not copied: sign the
    result.
    """
    from clap_export.slim import slim as slimmed
    from runtime.bundle import Bundle

    bundle = Bundle(source, public_key=public_key)
    result = slimmed(bundle, output)
    before, after = (
        sum(entry.bytes for entry in files.values()) / 1e6
        for files in (bundle.manifest.files, result.files)
    )
    terminal.say(f"{source}: {before:.2f} MB -> {output}: {after:.2f} MB")
    return DONE
