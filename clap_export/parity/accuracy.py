"""Accuracy of a bundle on labelled recordings, zero-shot: the labels are the listing's own."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clap_export.metrics import mean_average_precision, wilson
from runtime import Encoder
from runtime.encoder import mean_embedding
from runtime.errors import ClapError
from runtime.labels import LabelBank


@dataclass(frozen=True)
class Item:
    """A recording and the labels that are right for it."""

    path: Path
    labels: frozenset[str]


@dataclass(frozen=True)
class Accuracy:
    """Shares from 0 to 1.

    Attributes:
        clips: number of recordings.
        labels: number of candidate labels.
        top1: the best label is a right one.
        top5: one of the five best is.
        mean_average_precision: over labels, of recordings ranked by similarity.
    """

    clips: int
    labels: int
    top1: float
    top5: float
    mean_average_precision: float

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of ``top1``, of recordings that do not depend on one another."""
        return wilson(self.top1, self.clips)


@dataclass(frozen=True)
class Run:
    """What a bundle gave: similarities ``[clips, labels]``, and how right they are."""

    similarities: np.ndarray
    accuracy: Accuracy


def read_listing(path: Path) -> list[Item]:
    """A CSV file of the columns ``path`` and ``label``.

    Paths are relative to the file; a recording with several labels has ``|`` between them.

    Raises:
        ClapError: no such file, columns missing or others there, an empty field, no rows, or
            recordings that do not exist (all are named).
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ClapError(f"--listing {path} cannot be read ({error}).") from error
    if sorted(reader.fieldnames or ()) != ["label", "path"] or not rows:
        raise ClapError(
            f"--listing {path} has the columns {', '.join(reader.fieldnames or ()) or 'none'} and "
            f"{len(rows)} rows: it must have the columns path and label, and a row a recording."
        )
    items = [
        Item(path.parent / (row["path"] or ""), frozenset((row["label"] or "").split("|")))
        for row in rows
    ]
    problems = [f"row {i}: no label" for i, item in enumerate(items, 2) if "" in item.labels]
    absent = [(i, x.path) for i, x in enumerate(items, 2) if not x.path.is_file()]
    problems += [f"row {i}: {there} does not exist" for i, there in absent]
    if problems:
        more = f" and {len(problems) - 9} more" * (len(problems) > 9)
        raise ClapError(f"--listing {path}: {'; '.join(problems[:9])}{more}.")
    return items


def evaluate(
    encoder: Encoder,
    items: Sequence[Item],
    templates: Sequence[str] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Run:
    """Embed recordings and labels, and compare.

    Args:
        encoder: of the bundle.
        items: recordings; all their labels together are the candidates.
        templates: prompts, averaged; none for the bundle's.
        progress: called with how far it is.

    Raises:
        AudioError: a recording cannot be used.
    """
    names = sorted(frozenset().union(*(item.labels for item in items)))
    bank = LabelBank.build(encoder, names, list(templates) or None)
    embeddings = []
    clips = (encoder.windows_of(item.path) for item in items)
    for i, rows in enumerate(encoder.embed_clips(clips)):
        embeddings.append(mean_embedding(rows))
        if i % 50 == 0:
            progress(f"recording {i + 1} of {len(items)}")
    similarities = np.stack(embeddings) @ bank.embeddings.T
    right = np.array([[name in item.labels for name in names] for item in items])
    return Run(similarities, measure(similarities, right))


def measure(similarities: np.ndarray, right: np.ndarray) -> Accuracy:
    """Accuracy of scores ``[clips, labels]`` with right answers ``[clips, labels]`` bool."""
    order = np.argsort(-similarities, axis=1, kind="stable")
    hits = np.take_along_axis(right, order, axis=1)
    return Accuracy(
        clips=len(right),
        labels=right.shape[1],
        top1=float(hits[:, 0].mean()),
        top5=float(hits[:, :5].any(axis=1).mean()),
        mean_average_precision=mean_average_precision(similarities, right),
    )


def agreement(found: Run, reference: Run) -> float:
    """Share of recordings that get the same best label."""
    best = (run.similarities.argmax(axis=1) for run in (found, reference))
    return float(np.equal(*best).mean())
