"""Scores as a picture: a bar for each, with its interval and a mark for the paper's number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clap_export.figure import new, save
from train.published.score import Score


def plot(scores: Sequence[Score], path: Path, title: str) -> None:
    """Draw every score.

    Args:
        scores: in order, from the top.
        path: of the picture; its ending chooses PNG, SVG or PDF.
        title: above it.

    Raises:
        ClapError: matplotlib is not installed, or the file cannot be written.
    """
    figure = new(9, 1.5 + 0.4 * len(scores))
    axes = figure.subplots()
    places = range(len(scores))
    axes.barh(places, [100 * one.value for one in scores], color="#1f5fa8", label="this model")
    known = [(i, x) for i, x in enumerate(scores) if x.low is not None and x.high is not None]
    for i, one in known:
        axes.plot([100 * (one.low or 0), 100 * (one.high or 0)], [i, i], color="black", linewidth=1)
    marks = [(i, 100 * one.paper) for i, one in enumerate(scores) if one.paper is not None]
    axes.plot(
        [value for _, value in marks], [i for i, _ in marks], "D", color="#c8601a",
        markersize=5, label="CLAP 2022",
    )  # fmt: skip
    axes.set_yticks(places, [f"{one.title} ({one.metric})" for one in scores])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("%")
    axes.set_title(title, fontsize=10)
    axes.legend(loc="lower right", fontsize=8)
    save(figure, path)
