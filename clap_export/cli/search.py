"""The verb ``search``: recordings of a library, by words and by sounds.

Only click is imported here, as in :mod:`clap_export.cli`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clap_export.cli import options
from clap_export.cli.options import OUTPUT, PATH, TEXT
from clap_export.command import terminal
from clap_export.command.ending import BAD_INPUT, DONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.library.library import Hit

WEIGHT = re.compile(r"(.*\S)\^([0-9]+(?:\.[0-9]+)?)", re.DOTALL)


@dataclass(frozen=True)
class SearchRequest:
    """What was asked of ``search``; see :meth:`runtime.Library.search`.

    Attributes:
        outputs: files to write, whose endings say their form.
    """

    library: Path
    words: tuple[str, ...]
    like: tuple[Path, ...]
    minus: tuple[str, ...]
    unlike: tuple[Path, ...]
    top_k: int
    where: str | None
    group_by: str | None
    dedupe: float | None
    each_window: bool
    exact: bool
    outputs: tuple[Path, ...]
    overwrite: bool
    bundle: Path | None
    provider: str | None
    threads: int | None

    @property
    def title(self) -> str:
        """The query, for people."""
        said = [*self.words, *(f"like {path.name}" for path in self.like)]
        return " ".join([" + ".join(said), *(f"- {text}" for text in self.minus),
                         *(f"- like {path.name}" for path in self.unlike)])  # fmt: skip


@click.command()
@click.argument("library", type=PATH)
@click.argument("words", type=TEXT, nargs=-1)
@click.option("--like", type=PATH, multiple=True, help="A recording that is to be resembled.")
@click.option("--minus", type=TEXT, multiple=True, help="Words that are taken away.")
@click.option("--unlike", type=PATH, multiple=True, help="A recording that is taken away.")
@click.option("--top-k", type=click.IntRange(1), default=10, show_default=True, help="Most hits.")
@click.option("--where", type=TEXT, help="Condition in SQL on the columns, such as: duration < 10")
@click.option("--group-by", type=TEXT, help="Column: of equal values the best hit alone.")
@click.option(
    "--dedupe", type=float, help="Leave out what has this cosine to a better hit, such as 0.98."
)
@click.option("--each-window", is_flag=True, help="Find windows of recordings, with their times.")
@click.option("--exact", is_flag=True, help="Look at all recordings, though there is an index.")
@click.option(
    "-o", "--output", "outputs", type=OUTPUT, multiple=True,
    help="File to write the hits to: .json, .csv, .m3u8 (a playlist) or .html (with players).",
)  # fmt: skip
@options.overwrite_option
@click.option(
    "--bundle", type=PATH, help="That embeds the query.  [default: the library's own]",
)  # fmt: skip
@options.provider_option
@options.threads_option
@options.json_option
def search(as_json: bool, **given: Any) -> int:
    """Search a LIBRARY by WORDS, by the sound of recordings, or by both.

    Several WORDS are added up, each in quotes; "rain^0.5" counts half. All recordings of the
    library are looked at, unless it has an index. The exit code is 2 if a part of it is damaged,
    after the others are searched. --json prints one object for each hit and line.
    """
    request = SearchRequest(**given)
    if not request.words and not request.like:
        raise click.UsageError("give words to search for, or --like with a recording.")
    from clap_export.library import results
    from runtime import Library

    results.check(request.outputs, overwrite=request.overwrite)
    with Library(
        request.library, request.bundle,
        providers=request.provider and (request.provider,), threads=request.threads,
    ) as library:  # fmt: skip
        hits = library.search(
            _weighted(request.words), like=list(request.like) or None,
            minus=_weighted(request.minus), unlike=list(request.unlike) or None,
            top_k=request.top_k, where=request.where, group_by=request.group_by,
            dedupe=request.dedupe, each_window=request.each_window, exact=request.exact,
        )  # fmt: skip
    for path in request.outputs:
        results.write(hits, request.title, path, overwrite=request.overwrite)
    if as_json:
        terminal.put(results.json(hits, request.title))
    elif not request.outputs:
        _print(hits)
    for note in library.notes:
        terminal.warn(f"Note: {note}")
    for problem in library.problems:
        terminal.warn(f"Error: {problem}")
    return BAD_INPUT if library.problems else DONE


def _weighted(texts: Sequence[str]) -> dict[str, float] | None:
    """Texts and their weights; ``rain^0.5`` counts half."""
    found: dict[str, float] = {}
    for text in texts:
        match = WEIGHT.fullmatch(text)
        words, weight = (match[1], float(match[2])) if match else (text, 1.0)
        found[words] = found.get(words, 0.0) + weight
    return found or None


def _print(hits: Sequence[Hit]) -> None:
    from clap_export.cli import console
    from clap_export.cli.console import cell
    from clap_export.library.results import where

    table = console.new_table("", "similarity", "time", "recording", left=("recording",))
    for rank, hit in enumerate(hits, 1):
        end = "" if hit.end is None else f"{hit.end:.1f} s"
        table.add_row(
            str(rank), f"{hit.similarity:.3f}", cell(f"{hit.start:.1f}-{end}"), cell(where(hit))
        )
    console.print_table(table)
