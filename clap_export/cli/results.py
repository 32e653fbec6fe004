"""What ``classify`` prints: a table for people, a JSON object a file for machines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from clap_export.cli import console
from clap_export.cli.console import cell
from clap_export.command import terminal
from clap_export.timelines.timeline import Timeline
from runtime import ClapError, Prediction, schema

ROWS = 200  # of a page


@dataclass(frozen=True)
class Outcome:
    """What became of a file.

    Attributes:
        file: as it was typed.
        found: its predictions, or why there are none.
        warning: why only a part of it was used, or None.
    """

    file: str
    found: list[Prediction] | ClapError
    warning: str | None = None


def print_table(found: Iterable[Outcome]) -> int:
    """A table of all files; returns the number of those that could not be used."""
    pages = _Pages()
    for outcome in found:
        if isinstance(outcome.found, ClapError):
            pages.fail(outcome.file, outcome.found)
        else:
            pages.add(outcome.file, "", outcome.found)
        pages.end(outcome.warning)
    return pages.finish()


def print_timelines(found: Iterable[Timeline]) -> int:
    """A table of the windows of all files, however long they are; returns the number of those that
    could not be used."""
    pages = _Pages()
    for timeline in found:
        for segment in timeline:
            pages.add(
                timeline.file, f"{segment.start:.1f}-{segment.end:.1f} s", segment.predictions
            )
        if timeline.error is not None:
            pages.fail(timeline.file, timeline.error, further=timeline.count > 0)
        pages.end(timeline.warning)
    return pages.finish()


class _Pages:
    """A table that is printed page by page, each with its headings: none of it is held for long."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._failed = 0
        self._table: Table | None = None
        self._above = ("", "")  # file and time of the row above, on this page

    def add(self, file: str, time: str, predictions: Sequence[Prediction]) -> None:
        """The rows of a stretch."""
        for p in predictions:
            self._row(file, time, p.label, f"{p.score:.3f}", f"{p.similarity:.3f}")
        if not predictions:
            self._row(file, time, "(none of these)")

    def fail(self, file: str, error: ClapError, further: bool = False) -> None:
        """A file that cannot be used, or no further than this."""
        self._failed += 1
        self._said.append(f"Error: {error}")
        self._row(file, "", f"could not be used{' further' * further}", style="red")

    def end(self, warning: str | None) -> None:
        """A file is done."""
        if warning is not None:
            self._said.append(f"Warning: {warning}")
        if self._table is not None:
            self._table.add_section()
        self._above = ("", "")

    def finish(self) -> int:
        """Print what is left, and what was said; returns the number of files that failed."""
        self._print()
        for line in self._said:
            terminal.warn(line)
        return self._failed

    def _row(self, file: str, time: str, label: str, *figures: str, style: str = "") -> None:
        if self._table is not None and self._table.row_count >= ROWS:
            self._print()
        if self._table is None:
            headings = ("file", "time", "label", "score", "similarity")
            self._table = console.new_table(*headings, left=("file", "label"))
            self._above = ("", "")
        same_file = self._above[0] == file
        same = self._above == (file, time)
        name = cell("" if same_file else Path(file).name)
        self._table.add_row(name, "" if same else time, cell(label, style), *figures)
        self._above = (file, time)

    def _print(self) -> None:
        if self._table is not None:
            console.print_table(self._table)
            self._table = None


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
