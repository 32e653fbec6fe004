"""The part of a docs page that a measurement writes."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "devices.md"


def put(name: str, text: str, page: Path = PAGE) -> None:
    """Between the page's markers of this name.

    Raises:
        ValueError: it has no such markers.
    """
    before, rest = page.read_text(encoding="utf-8").split(f"<!-- {name} -->\n")
    _, after = rest.split(f"<!-- /{name} -->")
    written = f"{before}<!-- {name} -->\n\n{text}\n\n<!-- /{name} -->{after}"
    page.write_text(written, encoding="utf-8")
