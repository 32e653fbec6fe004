"""A library that is being written: its parts, its journal, and which recordings it knows."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clap_export.library import parts
from clap_export.library.item import Item, Key
from clap_export.library.journal import Journal
from clap_export.library.row import Row
from runtime import files, temporaries
from runtime.library import columns, description
from runtime.library.arrow import pyarrow
from runtime.library.columns import RECORDINGS, WINDOWS
from runtime.library.description import LIBRARY, Description, LibraryError
from runtime.library.part import Part

FULL = 64 << 20  # bytes of vectors, above which a part is written before it has all its rows
KNOWN = ("path", "member", "size", "mtime_ns", "sha256", "vanished", "error")


@dataclass(frozen=True, slots=True)
class Known:
    """What a library holds of a recording.

    Attributes:
        size: of its file, in bytes.
        mtime_ns: of its file.
        sha256: of its bytes.
        vanished: it is marked as gone.
        error: why it could not be embedded, or None.
        part: name of the part that it is in; None for the journal.
    """

    size: int | None
    mtime_ns: int | None
    sha256: str | None
    vanished: bool
    error: str | None
    part: str | None

    def is_of(self, item: Item) -> bool:
        """Whether a file is as it was, by its size and time."""
        return item.size is not None and (item.size, item.mtime_ns) == (self.size, self.mtime_ns)


@contextmanager
def opened(folder: Path, wanted: Description, rows: int = parts.ROWS) -> Iterator[Store]:
    """Open a library for writing, or make one; this process alone writes it.

    Args:
        folder: of the library.
        wanted: what is to be written into it; of an older library the spaces must be the same.
        rows: of a part.

    Raises:
        LibraryError: it is of another space or form, another process writes it, a part is damaged,
            or it cannot be written.
    """
    with files.owning(folder, LibraryError):
        said = _begun(folder, wanted)
        store = Store(folder, replace(said, model=wanted.model, tools=wanted.tools), rows)
        try:
            yield store
        finally:
            store.close()


class Store:
    """See :func:`opened`.

    Attributes:
        said: description of the library, with the model at work.
        known: every recording of it.
    """

    def __init__(self, folder: Path, said: Description, rows: int) -> None:
        self.folder, self.said, self._rows = folder, said, rows
        self.known: dict[Key, Known] = {}
        self._journal = Journal(folder, said.dim)
        self._waiting: dict[Key, Row] = {}
        self._bytes = 0
        _sweep(folder)
        names = columns.names(folder / RECORDINGS)
        self._next = 1 + max((int(name[5:13]) for name in names), default=0)
        for part_name in names:
            self._know(self._part(part_name))
        left = [row for row in self._journal.read() if not self._sealed(row)]
        for row in left:
            self._hold(row)
        self._journal.begin(self._waiting.values())

    def add(self, row: Row) -> None:
        """Keep a row, in place of an older one of the same recording.

        Raises:
            LibraryError: it cannot be written.
        """
        self._hold(row)  # first: whoever is interrupted in between makes a part of it
        self._journal.add(row)
        if len(self._waiting) >= self._rows or self._bytes >= FULL:
            self.seal()

    def seal(self) -> None:
        """Make a part of what the journal holds.

        Raises:
            LibraryError: it cannot be written; the journal still holds it.
        """
        if not self._waiting:
            return
        # Rows that these take the place of go first. Whoever is killed here finds the new ones in
        # the journal.
        try:
            self.drop([key for key in self._waiting if self.known[key].part is not None])
            parts.write(self.folder, self._next, list(self._waiting.values()), self.said)
        except LibraryError as error:
            raise LibraryError(
                f"{error} What was finished is kept: run the same command again when that is "
                "mended."
            ) from error
        name = parts.name(self._next)
        for key in self._waiting:
            self.known[key] = replace(self.known[key], part=name)
        self._next += 1
        self._waiting, self._bytes = {}, 0
        self._journal.begin(())

    def drop(self, keys: Iterable[Key]) -> None:
        """Take recordings out of the parts that they are in.

        Raises:
            LibraryError: a part cannot be written.
        """
        self._amend({key: None for key in keys})

    def change(self, cells: dict[Key, dict[str, Any]]) -> None:
        """Give columns of recordings that are in parts other values.

        Raises:
            LibraryError: a part cannot be written.
        """
        self._amend(dict(cells))

    def close(self) -> None:
        """Let go of the journal."""
        self._journal.close()

    def _hold(self, row: Row) -> None:
        self._waiting[row.key] = row
        known = self.known.get(row.key)
        part = known.part if known is not None else None
        self.known[row.key] = Known(
            row.item.size, row.item.mtime_ns, row.sha256, False, row.error, part
        )
        self._bytes += 4 * self.said.dim
        self._bytes += row.windows.vectors.nbytes if row.windows is not None else 0

    def _sealed(self, row: Row) -> bool:
        """Whether a row of the journal is in a part; its writer was killed before it said so."""
        known = self.known.get(row.key)
        item = row.item
        return known is not None and (
            (known.size, known.mtime_ns, known.sha256, known.error)
            == (item.size, item.mtime_ns, row.sha256, row.error)
        )

    def _part(self, name: str) -> Part:
        return Part(self.folder / RECORDINGS / name, self.said)

    def _know(self, part: Part) -> None:
        table = part.table(KNOWN)
        every = (table.column(name).to_pylist() for name in KNOWN)
        for path, member, size, mtime, sha256, vanished, error in zip(*every, strict=True):
            self.known[path, member] = Known(size, mtime, sha256, vanished, error, part.name)

    def _amend(self, changes: dict[Key, dict[str, Any] | None]) -> None:
        by_part: dict[str, dict[Key, dict[str, Any] | None]] = defaultdict(dict)
        for key, cells in changes.items():
            name = self.known[key].part
            if name is not None:
                by_part[name][key] = cells
        for name, some in by_part.items():
            change = _Change(some)
            parts.amend(self.folder, self._part(name), self.said, change)
        for key, cells in changes.items():
            if cells is not None:
                seen = {k: v for k, v in cells.items() if k in Known.__slots__}
                self.known[key] = replace(self.known[key], **seen)
            elif key in self._waiting:
                self.known[key] = replace(self.known[key], part=None)
            else:
                del self.known[key]


class _Change:
    """Other values for some rows of a table, None to take them out."""

    def __init__(self, changes: dict[Key, dict[str, Any] | None]) -> None:
        self._changes = changes

    def __call__(self, table: Any) -> tuple[Any, NDArray[np.bool_]]:
        keys = zip(
            table.column("path").to_pylist(), table.column("member").to_pylist(), strict=True
        )
        places = {i: self._changes[key] for i, key in enumerate(keys) if key in self._changes}
        stay = np.ones(table.num_rows, bool)
        stay[[i for i, cells in places.items() if cells is None]] = False
        given = {i: cells for i, cells in places.items() if cells is not None}
        names = {name for cells in given.values() for name in cells} & set(table.column_names)
        for name in names:
            at = table.schema.get_field_index(name)
            field, values = table.schema.field(at), table.column(name).to_pylist()
            for i, cells in given.items():
                values[i] = cells.get(name, values[i])
            table = table.set_column(at, field, pyarrow().array(values, field.type))
        return table, stay


def _sweep(folder: Path) -> None:
    """Remove what killed writers left: halves of parts, and windows without recordings."""
    for name in {*columns.names(folder / WINDOWS)} - {*columns.names(folder / RECORDINGS)}:
        parts.remove(folder / WINDOWS / name)
    for kind in (RECORDINGS, WINDOWS):
        for left in (folder / kind).glob(".part-*.part"):
            temporaries.sweep(left.with_name(left.name[1 : 1 + len(parts.name(0))]))


def _begun(folder: Path, wanted: Description) -> Description:
    """The description of the library that is there, or of the one that is made now."""
    if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir())):
        with files.scratch(folder, LibraryError) as made:
            (made / RECORDINGS).mkdir()
            if wanted.each_window:
                (made / WINDOWS).mkdir()
            (made / LIBRARY).write_text(description.text(wanted), encoding="utf-8")
            files.publish(made, folder)
        return wanted
    found = description.read(folder)
    _check(folder, found, wanted)
    return found


def _check(folder: Path, found: Description, wanted: Description) -> None:
    if found.space_id != wanted.space_id:
        raise LibraryError(
            f"'{folder}' holds vectors of the model '{found.model.name}' (space {found.space_id}), "
            f"and the bundle is of '{wanted.model.name}' (space {wanted.space_id}), whose vectors "
            "do not match them: give another folder."
        )
    if found.clip_space_id != wanted.clip_space_id:
        raise LibraryError(
            f"'{folder}' was made with the policy '{found.policy.name}' (clip space "
            f"{found.clip_space_id}), and '{wanted.policy.name}' (clip space "
            f"{wanted.clip_space_id}) is wanted, whose vectors do not match: give another folder."
        )
    if (found.store, found.each_window) != (wanted.store, wanted.each_window):
        raise LibraryError(
            f"'{folder}' {_form(found)}, and one that {_form(wanted)} is wanted: give another "
            "folder."
        )


def _form(said: Description) -> str:
    return f"stores {said.store} {'with' if said.each_window else 'without'} vectors of windows"
