"""What ``classify`` prints: a table for people, a JSON object a file for machines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from clap_export.cli import console
from clap_export.cli.console import cell
from clap_export.command import terminal
from runtime import ClapError, Prediction, Segment, schema


@dataclass(frozen=True)
class Outcome:
    """What became of a file.

    Attributes:
        file: as it was typed.
        found: its predictions, its segments, or why there are none.
        warning: why only a part of it was used, or None.
        ended: why there are no more segments, or None.
    """

    file: str
    found: list[Prediction] | list[Segment] | ClapError
    warning: str | None = None
    ended: ClapError | None = None


def print_table(found: Iterable[Outcome]) -> int:
    """A table of all files; returns the number of those that could not be used."""
    headings = ("file", "time", "label", "score", "similarity")
    table = console.new_table(*headings, left=("file", "label"))
    said: list[str] = []
    failed = 0
    for outcome in found:
        first = (cell(Path(outcome.file).name), "")
        if outcome.warning is not None:
            said.append(f"Warning: {outcome.warning}")
        if isinstance(outcome.found, ClapError):
            failed += 1
            said.append(f"Error: {outcome.found}")
            table.add_row(*first, cell("could not be used", "red"), "", "")
            continue
        for time, predictions in _stretches(outcome.found):
            first = (first[0], time)
            for p in predictions:
                table.add_row(*first, cell(p.label), f"{p.score:.3f}", f"{p.similarity:.3f}")
                first = (cell(""), "")
            if not predictions:
                table.add_row(*first, "(none of these)", "", "")
        if outcome.ended is not None:
            failed += 1
            said.append(f"Error: {outcome.ended}")
            table.add_row(cell(""), "", cell("could not be used further", "red"), "", "")
        table.add_section()
    console.print_table(table)
    for line in said:
        terminal.warn(line)
    return failed


def print_json(found: Iterable[Outcome]) -> int:
    """One JSON object per file and line, as they come; returns the number of files that failed.

    Timelines are written by :mod:`clap_export.timelines.formats`.
    """
    failed = 0
    for outcome in found:
        line: dict[str, object] = {"file": outcome.file}
        if isinstance(outcome.found, ClapError):
            line["error"] = str(outcome.found)
            failed += 1
        else:
            line["predictions"] = schema.to_plain(outcome.found)
        if outcome.warning is not None:
            line["warning"] = outcome.warning
        terminal.say_json(line)
    return failed


def _stretches(
    found: list[Prediction] | list[Segment],
) -> Iterator[tuple[str, list[Prediction]]]:
    """Both kinds of result alike: a whole file is one stretch without a time."""
    if not found or isinstance(found[0], Prediction):
        yield "", cast("list[Prediction]", found)
        return
    for segment in cast("list[Segment]", found):
        yield f"{segment.start:.1f}-{segment.end:.1f} s", segment.predictions
