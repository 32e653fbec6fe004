"""The group of verbs: each is imported when it is called, and all end in the same way."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import Any

import click

from clap_export.command import ending
from clap_export.command.group import Group


class Verbs(Group):
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

    def main(self, *arguments: Any, standalone_mode: bool = True, **options: Any) -> Any:
        """Run, and exit with one of the codes of :mod:`clap_export.command.ending`."""
        work = partial(super().main, *arguments, standalone_mode=False, **options)
        if not standalone_mode:
            return work()
        sys.exit(ending.code_of(work))
