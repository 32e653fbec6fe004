"""Listings: which clips there are and what is said of them."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a CSV (with a header) or JSONL file.

    Raises:
        ClapError: missing, unreadable, or empty.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            if path.suffix == ".jsonl":
                rows: list[dict[str, Any]] = [json.loads(line) for line in file if line.strip()]
            else:
                rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise ClapError(f"listing {path} cannot be read: {error}.") from error
    if not rows:
        raise ClapError(f"listing {path} has no rows.")
    return rows


def read_listing(config: ListingConfig) -> list[Clip]:
    """Clips of one listing.

    Raises:
        ClapError: columns that are not there, rows without caption and label, or nothing left.
    """
    path = Path(config.path)
    rows = read_rows(path)
    asked = {
        config.audio,
        *config.captions,
        *config.names,
        *config.labels,
        *config.where,
        *config.exclude,
    }
    absent = sorted(asked - set(rows[0]))
    if absent:
        raise ClapError(
            f"listing {path} has no column {', '.join(absent)}; it has {', '.join(rows[0])}."
        )
    clips: list[Clip] = []
    for number, row in enumerate(rows, start=2):
        if any(str(row[k]) not in v for k, v in config.where.items()):
            continue
        if any(str(row[k]) in v for k, v in config.exclude.items()):
            continue
        captions, names = (
            tuple(text for column in columns for text in texts_of(row[column]))
            for columns in (config.captions, config.names)
        )
        label = next(
            (str(row[c]) for c in config.labels if row[c]), next(iter(captions + names), "")
        )
        if not label:
            raise ClapError(f"listing {path}, line {number}: neither a caption nor a label.")
        label = config.rename.get(label, label)
        clips.append(Clip(path.parent / row[config.audio], captions, names, label, config.weight))
    if not clips:
        raise ClapError(f"listing {path}: no row is left after 'where' and 'exclude'.")
    return clips


def texts_of(value: object) -> list[str]:
    """One cell as sentences: a list gives several, an empty one none."""
    if isinstance(value, list):
        return [str(item).strip() for item in value if str(item).strip()]
    text = str(value or "").strip()
    return [text] if text else []
