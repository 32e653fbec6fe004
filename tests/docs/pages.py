"""The pages that users read, and what stands in them to be tried."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.places import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
# What stands above a block that cannot be run by a test, and why.
EXCUSE = re.compile(r"<!-- not run here: (.+) -->")
FENCE = re.compile(r"^(?:(<!-- [^\n]* -->)\n)?```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: file name of its page.
        language: behind the fence; empty for drawings.
        text: between the fences.
        excuse: why it is not run, or None.
    """

    page: str
    language: str
    text: str
    excuse: str | None

    @property
    def lines(self) -> list[str]:
        """Commands of a shell block, continued lines joined, without comments."""
        joined = self.text.replace("\\\n", " ")
        words = (shlex.split(line, comments=True) for line in joined.splitlines())
        return [shlex.join(line) for line in words if line]


def blocks(page: Path) -> Iterator[Block]:
    """All of a page, in order."""
    for comment, language, text in FENCE.findall(page.read_text(encoding="utf-8")):
        excuse = EXCUSE.fullmatch(comment)
        yield Block(page.name, language, text, excuse[1] if excuse else None)


BLOCKS = [block for page in PAGES if page.exists() for block in blocks(page)]
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES if page.exists()}


def commands(program: str | tuple[str, ...], page: str | None = None) -> list[str]:
    """Commands of a program, or several, that are run, on a page or on all."""
    return [
        line
        for block in BLOCKS
        if block.language == "sh" and block.excuse is None and page in (None, block.page)
        for line in block.lines
        if line.startswith(program)
    ]
