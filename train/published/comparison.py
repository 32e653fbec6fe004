"""Scores beside the paper's, as a table or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table

from runtime import schema
from train.published.score import Score


def as_json(model: str, templates: Sequence[str], scores: Sequence[Score]) -> str:
    """A JSON object of what was evaluated, how, and every score.

    Args:
        model: checkpoint or bundle.
        templates: prompts, where they are not the benchmarks' own.
        scores: in order.
    """
    document = {"model": model, "templates": list(templates), "scores": schema.to_plain(scores)}
    return json.dumps(document, indent=2)


def show(model: str, scores: Sequence[Score]) -> None:
    """Print a table, one row a score, compared with the paper's where all its clips were there."""
    table = Table(title=f"{scores[0].setup}: {model}")
    table.add_column("benchmark", no_wrap=True)
    table.add_column("metric")
    for heading in ("clips", "result", "95 %", "paper", "difference"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in scores:
        table.add_row(
            one.title, one.metric, _clips(one), _percent(one.value), _interval(one),
            "" if one.paper is None else _percent(one.paper),
            "" if one.paper is None or not _whole(one) else _percent(one.value - one.paper, "+"),
        )  # fmt: skip
        if one.more:
            more = ", ".join(f"{name} {_percent(value)}" for name, value in one.more.items())
            table.add_row("", more, style="dim")
    Console(width=None if Console().is_terminal else 110).print(table)
    if not all(map(_whole, scores)):
        click.echo("Where not all clips were there, the numbers are not of what the paper's are.")


def _clips(one: Score) -> str:
    return f"{one.clips:,}" if _whole(one) else f"{one.clips:,} of {one.published:,}"


def _whole(one: Score) -> bool:
    """Whether the number is of the same clips as the paper's."""
    return one.clips == one.published


def _interval(one: Score) -> str:
    if one.low is None or one.high is None:
        return ""
    return f"{_percent(one.low)}-{_percent(one.high)}"


def _percent(share: float, sign: str = "") -> str:
    """Per cent with one decimal."""
    return f"{100 * share:{sign}.1f}"
