"""The verb ``head``: labels of your own, learned from a library.

Only click is imported here, as in :mod:`clap_export.cli`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clap_export.cli import options
from clap_export.cli.options import BANK, PATH
from clap_export.command import terminal
from clap_export.command.ending import BAD_INPUT, DONE

if TYPE_CHECKING:
    from clap_export.heads.examples import Examples
    from runtime import LabelBank

FEW = 5  # recordings of a label, below which figures say little


@click.command()
@click.argument("library", type=PATH)
@click.argument("labels", type=PATH)
@click.option("-o", "--output", type=BANK, required=True, help="Head to write (.npz).")
@options.label_column_option
@options.group_column_option
@click.option(
    "--multilabel", is_flag=True,
    help="Each label is there or not.  [default: if a recording has several]",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace an existing head.")
@options.json_option
def head(
    library: Path, labels: Path, output: Path, label: str, group: str | None, multilabel: bool,
    overwrite: bool, as_json: bool,
) -> int:  # fmt: skip
    """Learn the LABELS of recordings in a LIBRARY: a head, to be used wherever a label bank is.

    LABELS is a listing (.csv, .jsonl or .parquet) with the columns "path" and "label" (several:
    a|b), or a folder with a folder of recordings for each label. Scores are calibrated, and
    accuracy is measured, on recordings that are left out in turn; copies stay together, and what
    --group names.
    """
    from clap_export.cli import show
    from clap_export.heads import examples
    from clap_export.heads.head import make
    from clap_export.library.given import Columns
    from clap_export.library.vectors import Vectors
    from runtime import files

    files.check_new(output, overwrite=overwrite)
    with show.stages() as progress:
        vectors = Vectors(library)
        found = examples.read(vectors, labels, Columns(label, group))
        bank = make(found, vectors.description, multilabel or found.several, progress)
    bank.save(output, overwrite=overwrite)
    if as_json:
        _print_json(bank, found)
    else:
        _print(bank, found)
        terminal.say(f"{len(bank)} labels from {len(found.vectors):,} recordings -> {output}")
    for problem in vectors.problems:
        terminal.warn(f"Error: {problem}")
    return BAD_INPUT if vectors.problems else DONE


def _print(bank: LabelBank, found: Examples) -> None:
    from clap_export.cli import console
    from clap_export.cli.console import cell

    assert bank.head is not None
    about = bank.head.about
    figures = about.figures
    table = console.new_table("label", "recordings", "average precision", left=("label",))
    for i, (name, count) in enumerate(zip(bank.names, about.of_labels, strict=True)):
        own = "" if figures is None else f"{100 * figures.of_labels[i]:.1f} %"
        table.add_row(cell(name), f"{count:,}", own)
    console.print_table(table)
    if found.missing:
        terminal.warn(
            f"Warning: {len(found.missing):,} labelled recordings have no vector in the library "
            f"and were passed over, such as '{found.missing[0]}'."
        )
    if figures is None:
        terminal.warn(
            "Warning: a label has one recording (or group) alone, so that none can be left out: "
            "nothing is measured, and the scores are not calibrated. Label more of it."
        )
        return
    terminal.say(
        f"on recordings left out in {figures.folds} parts, grouped by {figures.grouped_by}: "
        f"accuracy {100 * figures.accuracy:.1f} %, mean average precision "
        f"{100 * figures.average_precision:.1f} %, scores off by "
        f"{100 * figures.calibration_error:.1f} points on average"
    )
    few = [n for n, count in zip(bank.names, about.of_labels, strict=True) if count < FEW]
    if few:
        terminal.warn(f"Warning: fewer than {FEW} recordings of {', '.join(map(repr, few))}.")


def _print_json(bank: LabelBank, found: Examples) -> None:
    from runtime import schema

    assert bank.head is not None
    said: dict[str, Any] = {
        "labels": list(bank.names), "space_id": bank.space_id, "missing": list(found.missing),
        **schema.to_plain(bank.head.about),
    }  # fmt: skip
    terminal.say_json(said)
