"""What ``classify`` prints: a table for people, a JSON object a file for machines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias, cast

from clap_export.cli import console, terminal
from clap_export.cli.console import cell
from runtime import ClapError, Prediction, Segment, schema

# A file as it was typed, and its predictions, its segments, or why there are none.
Outcome: TypeAlias = "tuple[str, list[Prediction] | list[Segment] | ClapError]"


def print_table(found: Iterable[Outcome]) -> int:
    """A table of all files; returns the number of those that could not be used."""
    headings = ("file", "time", "label", "score", "similarity")
    table = console.new_table(*headings, left=("file", "label"))
    failures: list[ClapError] = []
    for file, outcome in found:
        first = (cell(Path(file).name), "")
        if isinstance(outcome, ClapError):
            failures.append(outcome)
            table.add_row(*first, cell("could not be used", "red"), "", "")
            continue
        for time, predictions in _stretches(outcome):
            first = (first[0], time)
            for p in predictions:
                table.add_row(*first, cell(p.label), f"{p.score:.3f}", f"{p.similarity:.3f}")
                first = (cell(""), "")
            if not predictions:
                table.add_row(*first, "(none of these)", "", "")
        table.add_section()
    console.print_table(table)
    for failure in failures:
        terminal.warn(f"Error: {failure}")
    return len(failures)


def print_json(found: Iterable[Outcome]) -> int:
    """One JSON object per file and line, as they come; returns the number of files that failed."""
    failed = 0
    for file, outcome in found:
        line: dict[str, object] = {"file": file}
        if isinstance(outcome, ClapError):
            line["error"] = str(outcome)
            failed += 1
        else:
            of_windows = bool(outcome) and isinstance(outcome[0], Segment)
            line["segments" if of_windows else "predictions"] = schema.to_plain(outcome)
        terminal.say_json(line)
    return failed


def _stretches(
    outcome: list[Prediction] | list[Segment],
) -> Iterator[tuple[str, list[Prediction]]]:
    """Both kinds of result alike: a whole file is one stretch without a time."""
    if not outcome or isinstance(outcome[0], Prediction):
        yield "", cast("list[Prediction]", outcome)
        return
    for segment in cast("list[Segment]", outcome):
        yield f"{segment.start:.1f}-{segment.end:.1f} s", segment.predictions
