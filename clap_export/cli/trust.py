"""Can this bundle be trusted? The verbs ``verify``, ``inspect``, ``sign`` and ``eval``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from clap_export.cli import options
from clap_export.cli.options import PATH
from clap_export.command import terminal
from clap_export.command.ending import DONE, GATE_FAILED

if TYPE_CHECKING:
    from clap_export.checkpoints import Family


@click.command()
@click.argument("bundle", type=PATH)
@click.option("--ckpt", type=PATH, required=True, help="Checkpoint it was exported from.")
@options.checkpoint_options
@click.option("--clip", "clips", type=PATH, multiple=True, help="Recording to compare on as well.")
@options.json_option
def verify(
    bundle: Path, ckpt: Path, family: Family | None, tokenizer: Path | None,
    clips: tuple[Path, ...], as_json: bool,
) -> int:  # fmt: skip
    """Compare BUNDLE with its checkpoint, through the runtime; exit code 1 if a gate fails.

    The result goes into the bundle's manifest; where that cannot be written, it is printed alone.
    """
    from clap_export.cli import show

    with show.stages() as progress:
        progress("loading the checkpoint")
        from clap_export.checkpoints import load

        checkpoint = load(ckpt, family, tokenizer)
        from clap_export.parity.checkpoint import measure
        from runtime.errors import ClapError
        from runtime.manifest import write_manifest

        manifest = measure(bundle, checkpoint, clips, progress)
    assert manifest.parity is not None  # it has just been measured
    show.parity_json(manifest.parity) if as_json else show.parity(manifest.parity)
    try:
        write_manifest(bundle, manifest)
    except ClapError as error:
        terminal.warn(f"Warning: the result was not kept in the bundle's manifest: {error}")
    return DONE if manifest.parity.passed else GATE_FAILED


@click.command(name="eval")
@click.argument("bundle", type=PATH)
@options.listing_option
@click.option("--against", type=PATH, help="Bundle to compare with, such as the same in FP32.")
@options.template_option
@options.provider_option
@options.threads_option
@options.json_option
def evaluate(
    bundle: Path, listing: Path | None, against: Path | None, templates: tuple[str, ...],
    provider: str | None, threads: int | None, as_json: bool,
) -> int:  # fmt: skip
    """Zero-shot accuracy of BUNDLE on labelled recordings; the labels are the listing's own."""
    if listing is None:
        raise click.UsageError("--listing is missing: which recordings shall be classified?")
    from clap_export.cli import show
    from clap_export.parity.accuracy import agreement, evaluate, read_listing
    from runtime import Encoder

    labelled = read_listing(listing)
    found = []
    with show.stages() as progress:
        for folder in filter(None, (bundle, against)):
            with Encoder(folder, providers=provider and (provider,), threads=threads) as encoder:
                found.append(evaluate(encoder, labelled, templates, progress))
    agree = agreement(*found) if against else None
    show.accuracy([one.accuracy for one in found], agree, as_json)
    return DONE


@click.command()
@click.argument("bundle", type=PATH)
@options.public_key_option
@options.json_option
def inspect(bundle: Path, public_key: Path | None, as_json: bool) -> int:
    """Print what BUNDLE is, after checking every file's hash, what graphs and tokenizer hold, and
    its signature if asked to."""
    from clap_export.cli import show
    from runtime.bundle import Bundle

    opened = Bundle(bundle, public_key=public_key)
    opened.check_contents()
    show.manifest_json(opened.manifest) if as_json else show.inspected(opened)
    return DONE


@click.command()
@click.argument("bundle", type=PATH)
@click.option("--key", type=PATH, required=True, help="Private Ed25519 key, in PEM.")
def sign(bundle: Path, key: Path) -> int:
    """Sign BUNDLE's manifest, and by its hashes every file; the signature is put beside it.

    Sign last: whatever is changed afterwards, by verify or build too, needs a new signature.
    """
    from runtime.bundle import Bundle
    from runtime.signature import sign as put

    opened = Bundle(bundle)
    opened.check_contents()
    terminal.say(f"signed -> {put(bundle, opened.manifest_bytes, key)}")
    return DONE
