"""Labels that people gave to recordings: a listing, or a folder with a folder for each label."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from clap_export.library import sources
from clap_export.library.item import Key, text
from clap_export.library.sources import LISTINGS, PATH_COLUMN
from runtime.errors import ClapError
from runtime.plain_text import printable

BETWEEN = "|"  # labels of one recording, in a cell


@dataclass(frozen=True)
class Columns:
    """Columns of a listing.

    Attributes:
        label: of the labels.
        group: of what recordings have in common that a fit must not learn, such as the recording
            that they were cut from; or None.
    """

    label: str = "label"
    group: str | None = None


@dataclass(frozen=True)
class Given:
    """Labels of recordings.

    Attributes:
        source: where they were read.
        of: the labels of each recording, by path and member.
        groups: of each recording, by the listing's column; empty without one.
    """

    source: Path
    of: dict[Key, frozenset[str]]
    groups: dict[Key, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """All labels, in the order of the alphabet."""
        return tuple(sorted(frozenset().union(*self.of.values())))


def read(source: Path, columns: Columns, keys: Iterable[Key]) -> Given:
    """Read labels.

    Args:
        source: a ``.csv``, ``.jsonl`` or ``.parquet`` file with a column ``path``, relative to the
            file, and one of labels, with ``|`` between those of one recording; or a folder, in
            which a recording's label is the name of the first folder on the way to it.
        columns: of the listing. Recordings inside shards have a column ``member`` too.
        keys: of the recordings in a library, for a folder.

    Raises:
        ClapError: it cannot be read, or gives no label.
    """
    if source.is_dir():
        if columns != Columns():
            raise ClapError(f"'{source}' is a folder: --label and --group are for a listing.")
        return _folder(source, keys)
    if source.suffix.lower() not in LISTINGS:
        raise ClapError(
            f"'{source}' gives no labels: pass a listing ({', '.join(LISTINGS)}) with the columns "
            "path and label, or a folder with a folder of recordings for each label."
        )
    return _listing(source, columns)


def _listing(source: Path, columns: Columns) -> Given:
    base = os.path.dirname(os.path.abspath(source))
    wanted = [PATH_COLUMN, columns.label, *([columns.group] if columns.group else [])]
    of: dict[Key, frozenset[str]] = {}
    groups: dict[Key, str] = {}
    for number, row in enumerate(sources.rows(source, wanted, ("member",)), 1):
        names = frozenset(_names(row[columns.label]))
        if not names:
            raise ClapError(f"the listing '{source}': row {number} gives no label.")
        member = row.get("member") or None
        path = os.path.abspath(os.path.join(base, row[PATH_COLUMN]))
        key = text(path), None if member is None else text(str(member))
        of[key] = of.get(key, frozenset()) | names
        if columns.group:
            group = str(row[columns.group])
            if groups.setdefault(key, group) != group:
                raise ClapError(
                    f"the listing '{source}': '{printable(path)}' is in two groups, "
                    f"'{printable(groups[key])}' and '{printable(group)}'."
                )
    if not of:
        raise ClapError(f"the listing '{source}' has no rows.")
    return Given(source, of, groups)


def _names(value: object) -> Iterator[str]:
    if isinstance(value, (list, tuple)):
        for each in cast("list[Any]", value):
            yield from _names(each)
        return
    for name in str(value).split(BETWEEN):
        if name.strip():
            yield name.strip()


def _folder(source: Path, keys: Iterable[Key]) -> Given:
    base = text(os.path.join(os.path.abspath(source), ""))
    of: dict[Key, frozenset[str]] = {}
    for path, member in keys:
        folder, slash, _ = path.removeprefix(base).partition(os.sep)
        if path.startswith(base) and slash and folder:
            of[path, member] = frozenset((folder,))
    if not of:
        raise ClapError(
            f"'{source}' gives no labels: the library has no recording in a folder of it. Embed "
            "them first: clap-export embed BUNDLE SOURCES --out LIB"
        )
    return Given(source, of)
