"""A listing before it becomes clips: rows of columns, whatever they were read from."""

from __future__ import annotations

import csv
import io
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from runtime.errors import ClapError
from train.config.text_file import parse_json, read_text


@dataclass(frozen=True)
class Row:
    """One clip.

    Attributes:
        where: its place in the listing, for messages: ``line 4``.
        columns: what the listing says of it.
        member: offset and size in bytes, for audio inside a tar file.
    """

    where: str
    columns: Mapping[str, Any]
    member: tuple[int, int] | None = None


@dataclass(frozen=True)
class Table:
    """Rows, and which columns they are meant to be read by.

    Attributes:
        folder: that audio paths are relative to.
        rows: at least one.
        audio: column of the audio path, or a pattern with columns in braces.
        captions, names, labels: columns taken when the config names no text columns.
        recording: column of the id by which overlaps with other listings are found.
    """

    folder: Path
    rows: list[Row]
    audio: str
    captions: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    recording: str | None = None


def read_rows(path: Path, encoding: str = "utf-8-sig") -> list[tuple[int, dict[str, Any]]]:
    """Rows of a CSV (with a header) or JSONL file, each with the number of its line.

    Raises:
        ClapError: missing, unreadable, or empty.
    """
    file = io.StringIO(read_text(path, "listing", encoding), newline="")
    try:
        rows = list(_json_rows(file) if path.suffix == ".jsonl" else _csv_rows(file))
    except (ValueError, csv.Error) as error:
        raise ClapError(f"listing {path} cannot be read: {error}.") from error
    if not rows:
        raise ClapError(f"listing {path} has no rows.")
    return rows


def _csv_rows(file: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(file)
    names = reader.fieldnames or ()
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"columns that are there twice: {', '.join(twice)}")
    for row in reader:
        if None in row:
            raise ValueError(f"line {reader.line_num} has more cells than the header has columns")
        yield reader.line_num, row


def _json_rows(file: TextIO) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is no JSON object")
        yield number, row


def read_table(path: Path, audio: str) -> Table:
    """A CSV or JSONL file.

    Raises:
        ClapError: see :func:`read_rows`.
    """
    return Table(path.parent, [Row(f"line {n}", row) for n, row in read_rows(path)], audio)


def columns_of(audio: str) -> set[str]:
    """Columns that an audio pattern needs: those in braces, or the one it is."""
    if "{" not in audio:
        return {audio}
    try:
        return {name for _, name, _, _ in string.Formatter().parse(audio) if name is not None}
    except ValueError as error:
        raise ClapError(f"audio {audio!r} is no pattern of columns in braces: {error}.") from error


def audio_name(audio: str, columns: Mapping[str, Any]) -> str | None:
    """Path of a row's audio file relative to the listing; None where a column is empty."""
    needed = {name: columns[name] for name in columns_of(audio)}
    if any(value is None or value == "" for value in needed.values()):
        return None
    try:
        name = audio.format_map(needed) if "{" in audio else str(columns[audio])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ClapError(f"audio {audio!r} is no pattern of columns in braces: {error}.") from error
    return name


def texts_of(value: object) -> list[str]:
    """One cell as sentences: a list gives several, an empty one none.

    Raises:
        ValueError: neither text nor a number, or half of a surrogate pair (a name that is not
            UTF-8), which no tokenizer reads.
    """
    items = [item for item in (value if isinstance(value, list) else [value]) if item is not None]
    if strange := [item for item in items if not isinstance(item, str | int | float)]:
        raise ValueError(f"a {type(strange[0]).__name__} is no text")
    texts = [str(item).strip() for item in items]
    if broken := [text for text in texts if any("\ud800" <= c <= "\udfff" for c in text)]:
        raise ValueError(f"{broken[0]!r} is not valid text")
    return [text for text in texts if text]
