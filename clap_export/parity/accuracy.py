"""Accuracy of a bundle on labelled recordings, zero-shot: the labels are the listing's own."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clap_export.metrics import mean_average_precision, wilson
from runtime import Encoder
from runtime.clips.pooling import mean_embedding
from runtime.errors import ClapError
from runtime.labels import LabelBank
from runtime.problems import listed


@dataclass(frozen=True)
class Labelled:
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
class Scored:
    """What a bundle gave: similarities ``[clips, labels]``, and how right they are."""

    similarities: np.ndarray
    accuracy: Accuracy


def read_listing(path: Path) -> list[Labelled]:
    """A CSV file of the columns ``path`` and ``label``.

    Paths are relative to the file; a recording with several labels has ``|`` between them.

    Raises:
        ClapError: no such file, not CSV in UTF-8, columns missing or others there, an empty field,
            no rows, or recordings that do not exist (all are named).
    """
    header, rows = _read_rows(path)
    if sorted(header) != ["label", "path"] or not rows:
        found = ", ".join(header) or "none"
        raise ClapError(
            f"--listing {path} has the columns {found} and {len(rows)} rows: it must have the "
            "columns path and label, with a comma between, and a row a recording."
        )
    labelled: list[Labelled] = []
    problems: list[str] = []
    for number, row in rows:
        if len(row) != 2:
            problems.append(f"row {number}: {len(row)} fields, not 2")
            continue
        field = dict(zip(header, row, strict=True))
        names = [name.strip() for name in field["label"].split("|")]
        recording = path.parent / field["path"]
        if "" in names:
            problems.append(f"row {number}: no label")
        if not field["path"] or not _is_file(recording):
            problems.append(f"row {number}: {recording} does not exist")
        labelled.append(Labelled(recording, frozenset(names)))
    if problems:
        raise ClapError(f"--listing {path}: {listed(problems)}.")
    return labelled


def _read_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and each row that is not empty with the number of its last line."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets begin with a byte order mark
        if "\0" in text:
            raise ClapError(f"--listing {path} cannot be read (it holds binary data, not CSV).")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = [name.strip() for name in next(reader, [])]
        return header, [(reader.line_num, row) for row in reader if row]
    except UnicodeDecodeError as error:
        raise ClapError(f"--listing {path} cannot be read (it is not UTF-8: {error}).") from error
    except (OSError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ClapError(f"--listing {path} cannot be read ({reason}).") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, a folder that may not be looked into
        return False


def evaluate(
    encoder: Encoder,
    items: Sequence[Labelled],
    templates: Sequence[str] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Scored:
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
    return Scored(similarities, measure(similarities, right))


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


def agreement(found: Scored, reference: Scored) -> float:
    """Share of recordings that get the same best label."""
    best = (one.similarities.argmax(axis=1) for one in (found, reference))
    return float(np.equal(*best).mean())
