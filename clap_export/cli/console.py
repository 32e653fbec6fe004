"""Tables and progress by rich, which must not read markup or emoji codes into user text."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from clap_export.command import terminal
from runtime.plain_text import printable

WIDTH = 120  # of tables that go to a file: wide enough not to wrap


class PlainConsole(Console):
    """A console that shows text as it is: no emoji codes, no control characters, no broken pipe."""

    def render_str(self, text: str, **options: Any) -> Text:  # type: ignore[override]
        """Every string that is put into a table or printed comes by here."""
        return super().render_str(printable(text, keep="\n"), **options)

    def on_broken_pipe(self) -> None:
        """Leave it to the command's end; rich would exit with the code of a failed gate."""
        raise BrokenPipeError


def new_table(*headings: str, title: str | None = None, left: tuple[str, ...] = ()) -> Table:
    """An empty table; columns are aligned to the right but for those named in ``left``."""
    table = Table(title=None if title is None else cell(title))
    for heading in headings:
        # A path that is too long goes on in the next line: cut, it would name nothing.
        justify = "left" if heading in left else "right"
        table.add_column(heading, justify=justify, overflow="fold")
    return table


def cell(text: str, style: str = "") -> Text:
    """User text for a table: on one line, whatever it holds."""
    return Text(printable(text), style=style)


def print_table(table: RenderableType, markup: bool = False) -> None:
    """Print at the terminal's width, or wide when it goes to a file.

    Args:
        table: or several; plain strings in it are shown as they are.
        markup: it was written with rich's markup, and has escaped what came from users.
    """
    width = None if sys.stdout.isatty() else WIDTH
    console = PlainConsole(width=width, markup=markup, emoji=False, highlight=False)
    with terminal.delivering():
        console.print(table)


@contextmanager
def stages() -> Iterator[Callable[[str], None]]:
    """A spinner on standard error that names the stage at work."""
    console = PlainConsole(stderr=True, markup=False, emoji=False, highlight=False)
    spinner = "dots" if terminal.is_utf8(sys.stderr) else "line"
    with console.status(cell("starting"), spinner=spinner) as status:
        yield lambda stage: status.update(cell(f"{stage} …"))
