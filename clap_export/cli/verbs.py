"""The group of verbs: each is imported when it is called, and all end in the same way."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from clap_export.cli import ending


class Verbs(click.Group):
    """A group whose verbs are named by the module that holds them.

    Args:
        verbs: name of a verb to its module in :mod:`clap_export.cli`, where the command has the
            verb's name (``eval`` has that of ``evaluate``, which Python's own would hide).
        options: see :class:`click.Group`.
    """

    def __init__(self, *, verbs: Mapping[str, str], **options: Any) -> None:
        super().__init__(**options)
        self._verbs = dict(verbs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Verbs in the order of the path: export, trust, use, measure."""
        return list(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A verb, from its module."""
        if cmd_name not in self._verbs:
            return None
        module = import_module(f"clap_export.cli.{self._verbs[cmd_name]}")
        return getattr(module, {"eval": "evaluate"}.get(cmd_name, cmd_name))

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Parse; ``--help`` prints here."""
        with _past_click():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; returns its exit code."""
        with _past_click():
            return super().invoke(ctx)

    def main(self, *arguments: Any, standalone_mode: bool = True, **options: Any) -> Any:
        """Run, and exit with one of the codes of :mod:`clap_export.cli.ending`."""

        def work() -> Any:
            try:
                return super(Verbs, self).main(*arguments, standalone_mode=False, **options)
            except _PastClick as passed:
                raise passed.error from None

        if not standalone_mode:
            return work()
        sys.exit(ending.code_of(work))


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
