"""What is typed as sources of recordings: files, folders, patterns, listings, shards, a list."""

from __future__ import annotations

import csv
import glob
import io
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, cast

from clap_export.library.item import LATEST, Item, Key, mtime_ns
from runtime import schema
from runtime.audio_files import is_audio
from runtime.errors import ClapError
from runtime.library.arrow import parquet
from runtime.plain_text import printable

STDIN = "-"
LISTINGS = (".csv", ".jsonl", ".parquet")
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
PATH_COLUMN = "path"
# What the reader of tar files raises: it believes sizes, and reads headers behind headers.
DAMAGED = OSError, tarfile.TarError, ValueError, OverflowError, MemoryError, RecursionError


@dataclass
class Found:
    """Recordings of all sources, each once, and what was wrong on the way to them.

    Attributes:
        items: in the order of the sources.
        problems: folders and shards of which a part could not be read, as sentences.
    """

    items: dict[Key, Item] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def find(sources: Sequence[str], stdin: TextIO | None = None) -> Found:
    """All recordings that sources name.

    Args:
        sources: as typed. A folder stands for the recordings in it, however deep; ``.tar`` for a
            shard of WebDataset; ``.csv``, ``.jsonl`` and ``.parquet`` for a listing with a column
            ``path``; ``-`` for a list of paths on standard input, one a line; a name with ``*``,
            ``?`` or ``[`` that is no file for what it matches.
        stdin: standard input.

    Raises:
        ClapError: a source does not exist, cannot be read at all, or names nothing.
    """
    found = Found()
    for source in sources:
        before = len(found.items)
        count = 0
        for item in _items(source, found.problems, stdin):
            count += 1
            found.items.setdefault(item.key, item)
        if not count and len(found.items) == before and not found.problems:
            raise ClapError(f"'{printable(source)}' names no recordings.")
    return found


def _items(source: str, problems: list[str], stdin: TextIO | None) -> Iterator[Item]:
    if source == STDIN:
        if stdin is None:
            raise ClapError("standard input is closed: there is no list of recordings in it.")
        if isinstance(stdin, io.TextIOWrapper):  # a name that is not UTF-8 is one bad recording
            stdin.reconfigure(errors="surrogateescape")
        yield from map(Item.of, _lines(stdin))
    elif os.path.isdir(source):
        yield from folder(source, problems)
    elif os.path.lexists(source):
        yield from _file(source, problems)
    elif glob.has_magic(source):
        for path in sorted(glob.iglob(source, recursive=True)):
            if os.path.isdir(path):
                yield from folder(path, problems)
            elif is_audio(path) or path.lower().endswith(".tar"):
                yield from _file(path, problems)
    else:
        raise ClapError(f"'{printable(source)}' does not exist. Check the path.")


def _file(source: str, problems: list[str]) -> Iterator[Item]:
    name = source.lower()
    if name.endswith(COMPRESSED):
        raise ClapError(
            f"'{printable(source)}' is a compressed shard, in which nothing can be found again: "
            "unpack it, or make a plain .tar of it."
        )
    if name.endswith(".tar"):
        return shard(source, problems)
    if name.endswith(LISTINGS):
        return listing(source)
    return iter((Item.of(source),))


def folder(path: str, problems: list[str]) -> Iterator[Item]:
    """Recordings in a folder, however deep, in order; names that begin with a dot are hidden."""
    try:
        with os.scandir(os.path.abspath(path)) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        problems.append(f"the folder '{printable(path)}' cannot be read ({error.strerror}).")
        return
    for entry in inside:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from folder(entry.path, problems)
        elif is_audio(entry.name) and not entry.is_dir():
            yield Item.of(entry.path)


def shard(path: str, problems: list[str]) -> Iterator[Item]:
    """Recordings in a plain tar file, such as a shard of WebDataset."""
    absolute = os.path.abspath(path)
    try:
        changed = mtime_ns(os.stat(absolute))
        with tarfile.open(absolute, "r:") as tar:
            for member in tar:
                if member.issparse() and is_audio(member.name):
                    problems.append(
                        f"'{printable(f'{path}: {member.name}')}' is stored without its zeros, "
                        "which is not read: make the shard without --sparse."
                    )
                elif member.isfile() and is_audio(member.name):
                    size = min(member.size, LATEST)
                    yield Item(absolute, member.name, size, changed, member.offset_data)
                cast(Any, tar).members = []  # it would keep all of them
            _check_end(absolute, tar.offset)
    except DAMAGED as error:
        reason = printable(str(error)) or type(error).__name__
        problems.append(f"the shard '{printable(path)}' cannot be read to its end ({reason}).")


def _check_end(path: str, offset: int) -> None:
    """See that behind the last member there is what ends a tar file, or nothing.

    Raises:
        tarfile.TarError: it is cut off, which the reader passes over.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(offset)
        if offset > size or any(file.read(tarfile.BLOCKSIZE)):
            raise tarfile.TarError("it is cut off")


def listing(path: str) -> Iterator[Item]:
    """Recordings of a table with a column ``path``, relative to the table's folder.

    Raises:
        ClapError: it cannot be read, or has no such column.
    """
    base = os.path.dirname(os.path.abspath(path))
    for name in _paths(Path(path)):
        yield Item.of(os.path.join(base, name))


def _paths(path: Path) -> Iterator[str]:
    for row in rows(path, (PATH_COLUMN,)):
        yield row[PATH_COLUMN]


def rows(path: Path, wanted: Sequence[str], maybe: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """The rows of a listing.

    Args:
        path: of a ``.csv``, ``.jsonl`` or ``.parquet`` file.
        wanted: columns that each row must have; of ``path`` it must be a text.
        maybe: columns that are given where they are there.

    Raises:
        ClapError: it cannot be read, or a row lacks something.
    """
    where = f"the listing '{printable(str(path))}'"
    try:
        if path.suffix.lower() == ".parquet":
            found = _parquet_rows(path, (*wanted, *maybe))
        elif path.suffix.lower() == ".jsonl":
            found = _json_rows(path)
        else:
            found = _csv_rows(path)
        for number, row in enumerate(found, 1):
            for column in wanted:
                value = row.get(column)
                if value is None or (
                    column == PATH_COLUMN and not (isinstance(value, str) and value)
                ):
                    has = ", ".join(printable(str(key)) for key in row)
                    raise ClapError(f"{where}: row {number} has no '{column}'; it has {has}.")
            yield row
    except (OSError, ValueError, csv.Error) as error:
        raise ClapError(f"{where} cannot be read ({error}).") from error


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file, strict=True)


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                row = schema.read_json(line, f"'{path}', line {number}", ClapError)
                if not isinstance(row, dict):
                    raise ValueError(f"line {number} is no JSON object")
                yield row


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    file = parquet().ParquetFile(path)
    has = file.schema_arrow.names
    if PATH_COLUMN not in has:
        yield dict.fromkeys(has)
        return
    for batch in file.iter_batches(columns=[name for name in columns if name in has]):
        yield from batch.to_pylist()


def _lines(stdin: Iterable[str]) -> Iterator[str]:
    for line in stdin:
        name = line.rstrip("\r\n")
        if name:
            yield name
