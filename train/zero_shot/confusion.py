"""What is taken for what."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clap_export.figure import new, save
from train.zero_shot.task import TaskResult


def confusion(result: TaskResult) -> np.ndarray:
    """``[labels, labels]`` counts: clips of the row's label that were given the column's."""
    size = len(result.labels)
    counts = np.zeros((size, size), np.int64)
    np.add.at(counts, (result.truth, result.scores.argmax(axis=1)), 1)
    return counts


def taken_for(result: TaskResult) -> dict[str, dict[str, float]]:
    """Of each label that has clips, the shares that were taken for others, largest first."""
    counts = confusion(result)
    found: dict[str, dict[str, float]] = {}
    for row in np.flatnonzero(counts.sum(axis=1)):
        shares = counts[row] / counts[row].sum()
        order = np.argsort(-shares, kind="stable")
        wrong = {result.labels[i]: float(shares[i]) for i in order if shares[i] > 0 and i != row}
        if wrong:
            found[result.labels[row]] = wrong
    return found


def plot(result: TaskResult, title: str, path: Path) -> None:
    """Draw the shares of each label's clips.

    Args:
        result: of a task; labels without clips have an empty row.
        title: above it.
        path: of the picture; its ending chooses PNG, SVG or PDF.

    Raises:
        ClapError: matplotlib is not installed, or the file cannot be written.
    """
    counts = confusion(result)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(5.0, 2.5 + 0.2 * len(counts))
    figure = new(side + 1, side)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    places = range(len(counts))
    axes.set_xticks(places, result.labels, rotation=90, fontsize=7)
    axes.set_yticks(places, result.labels, fontsize=7)
    axes.set_xlabel("taken for")
    axes.set_ylabel("is")
    axes.set_title(
        f"{title}: {100 * result.accuracy:.1f} % of {len(result.truth)} clips", fontsize=10
    )
    figure.colorbar(image, ax=axes, shrink=0.6, label="share of the label's clips")
    save(figure, path)
