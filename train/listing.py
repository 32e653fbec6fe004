"""Listings: which clips there are and what is said of them."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from runtime.errors import ClapError
from train.config import ListingConfig


@dataclass(frozen=True)
class Clip:
    """One recording.

    Attributes:
        captions: plain sentences that describe it.
        names: class names or short phrases, for templates.
        label: its class, or its first caption or name.
        weight: relative probability of being drawn.
    """

    path: Path
    captions: tuple[str, ...]
    names: tuple[str, ...]
    label: str
    weight: float


def read_rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Rows of a CSV (with a header) or JSONL file, each with the number of its line.

    Raises:
        ClapError: missing, unreadable, or empty.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(_json_rows(file) if path.suffix == ".jsonl" else _csv_rows(file))
    except (OSError, ValueError, csv.Error) as error:
        raise ClapError(f"listing {path} cannot be read: {error}.") from error
    if not rows:
        raise ClapError(f"listing {path} has no rows.")
    return rows


def _csv_rows(file: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(file)
    for row in reader:
        yield reader.line_num, row


def _json_rows(file: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is no JSON object")
        yield number, row


def read_listing(config: ListingConfig) -> list[Clip]:
    """Clips of one listing.

    Raises:
        ClapError: columns that are not there, rows without audio path, or caption and label, or
            nothing left.
    """
    path = Path(config.path)
    rows = read_rows(path)
    texts = (*config.captions, *config.names, *config.labels)
    asked = {config.audio, *texts, *config.where, *config.exclude}
    if config.recording is not None:
        asked.add(config.recording)
    first = rows[0][1]
    if absent := sorted(asked - set(first)):
        has = ", ".join(map(str, first))
        raise ClapError(f"listing {path} has no column {', '.join(absent)}; it has {has}.")
    clips: list[Clip] = []
    recordings: list[str] = []
    for number, row in rows:
        where = f"listing {path}, line {number}"
        if absent := sorted(asked - set(row)):
            raise ClapError(f"{where}: no column {', '.join(absent)}.")
        if any(str(row[k]) not in v for k, v in config.where.items()):
            continue
        if any(str(row[k]) in v for k, v in config.exclude.items()):
            continue
        if not row[config.audio]:
            raise ClapError(f"{where}: no audio path in column {config.audio}.")
        captions, names, labels = (
            tuple(text for column in columns for text in texts_of(row[column]))
            for columns in (config.captions, config.names, config.labels)
        )
        label = next(iter(labels + captions + names), None)
        if label is None:
            raise ClapError(f"{where}: neither a caption nor a label.")
        label = config.rename.get(label, label)
        clips.append(Clip(path.parent / row[config.audio], captions, names, label, config.weight))
        if config.recording is not None:
            recordings.append(str(row[config.recording]) or f"line {number}")
    if not clips:
        raise ClapError(f"listing {path}: no row is left after 'where' and 'exclude'.")
    return spread(clips, recordings) if recordings else clips


def spread(clips: Sequence[Clip], recordings: Sequence[str]) -> list[Clip]:
    """Weights that do not let the slices of one long recording stand for their label.

    A label keeps the sum of its clips' weights. Inside it, a recording of n clips weighs as the
    root of n: between counting each clip (n) and each recording (1).
    """
    keys = [(clip.label, name) for clip, name in zip(clips, recordings, strict=True)]
    slices = Counter(keys)
    raw = [clip.weight / slices[key] ** 0.5 for clip, key in zip(clips, keys, strict=True)]
    total, wanted = defaultdict[str, float](float), defaultdict[str, float](float)
    for clip, weight in zip(clips, raw, strict=True):
        total[clip.label] += weight
        wanted[clip.label] += clip.weight
    return [
        replace(clip, weight=weight * wanted[clip.label] / total[clip.label])
        for clip, weight in zip(clips, raw, strict=True)
    ]


def texts_of(value: object) -> list[str]:
    """One cell as sentences: a list gives several, an empty one none."""
    items = value if isinstance(value, list) else [value]
    texts = (str(item).strip() for item in items if item is not None)
    return [text for text in texts if text]
