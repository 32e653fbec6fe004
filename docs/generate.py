"""What is generated in these pages: the drawing of the rooms, the commands, and training's options.

``python docs/generate.py`` writes the drawing into its page, which a test holds against the layers'
own table. The others are put in while MkDocs builds the site (this file is one of its hooks).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
ROOMS = re.compile(r"<!-- rooms -->.*?<!-- /rooms -->", re.DOTALL)
COMMANDS = "<!-- commands -->"
OPTIONS = re.compile(r"<!-- options (run|distil|bridge) -->")


def rooms() -> str:
    """Each package's rooms, the highest floor first."""
    sys.path.insert(0, str(ROOT))
    from tests.test_layers import ROOMS as FLOORS

    width = max(len(name) for floors in FLOORS.values() for name in floors)
    columns = {package: list(reversed(floors)) for package, floors in FLOORS.items()}
    height = max(map(len, columns.values()))
    lines = ["   ".join(f"{package:<{width + 2}}" for package in columns).rstrip()]
    for i in range(height):
        cells = [floors[i] if i < len(floors) else "" for floors in columns.values()]
        lines.append("   ".join(f"  {cell:<{width}}" for cell in cells).rstrip())
    return "\n".join(lines)


def drawn(text: str) -> str:
    """The page with its drawing made anew."""
    return ROOMS.sub(
        lambda _: f"<!-- rooms -->\n\n```text\n{rooms()}\n```\n\n<!-- /rooms -->", text
    )


def reference() -> str:
    """All commands with their options, as Markdown."""
    sys.path.insert(0, str(ROOT))
    from clap_export.cli import main as export
    from train.__main__ import main as train

    parts = [*pages(export, "clap-export", None), *pages(train, "python -m train", None)]
    return "\n\n".join(parts)


def pages(command: click.Command, name: str, parent: click.Context | None) -> Iterator[str]:
    """A command, then those below it."""
    context = click.Context(command, info_name=name, parent=parent)
    usage = context.get_usage().removeprefix("Usage: ")
    yield f"## `{name}`" if parent is None else f"### `{context.command_path}`"
    yield f"```text\n{usage}\n```"
    yield re.sub(r"\n\s*", " ", click.unstyle(command.help or "").replace("\n\n", "\0")).replace(
        "\0", "\n\n"
    )
    rows = [
        tuple(cell.replace("|", "&#124;").replace("\n", " ") for cell in record)
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context)) is not None
    ]
    if rows:
        table = "\n".join(f"| <code>{names}</code> | {text} |" for names, text in rows)
        yield f"| option | meaning |\n|---|---|\n{table}"
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from pages(found, below, context)


def options(kind: str) -> str:
    """All keys of a config, as Markdown."""
    sys.path.insert(0, str(ROOT))
    from train.config import describe

    return describe.page(describe.root(kind))


def on_page_markdown(markdown: str, **_: Any) -> str:
    """MkDocs' hook: put what is generated where a page wants it."""
    markdown = OPTIONS.sub(lambda found: options(found[1]), markdown)
    return markdown.replace(COMMANDS, reference()) if COMMANDS in markdown else markdown


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
