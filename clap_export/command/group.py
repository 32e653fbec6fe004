"""A group of commands that leaves its ending to :mod:`clap_export.command.ending`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click


class Group(click.Group):
    """Passes on the exceptions that click ends a command for by itself, with codes of its own."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Parse; ``--help`` prints here."""
        with _past_click():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; returns its exit code."""
        with _past_click():
            return super().invoke(ctx)

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Parse and run; see :meth:`click.Group.main`."""
        try:
            return super().main(*arguments, **options)
        except _PastClick as passed:
            raise passed.error from None


class _PastClick(BaseException):
    """An exception that click has an ending of its own for, with a code of its own."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


@contextmanager
def _past_click() -> Iterator[None]:
    try:
        yield
    except (BrokenPipeError, KeyboardInterrupt, EOFError) as error:
        raise _PastClick(error) from error
