"""Rows that are in no part yet, on the disk as soon as they are known: one a line.

A part is written when there are enough of them. A process that is killed in between loses what it
was working on, and nothing that was finished: the next one reads the journal and goes on. Its last
line may be torn; it is left out, and the recording embedded again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from clap_export.library.row import Row
from runtime import files, schema
from runtime.errors import ClapError, SchemaError
from runtime.library.description import LibraryError

JOURNAL = "journal.jsonl"
SYNC_SECONDS = 5.0  # of work that a power cut may take; a killed process loses none of it


class Journal:
    """The journal of a library, which one process writes.

    Args:
        folder: of the library.
        dim: of its vectors.
    """

    def __init__(self, folder: Path, dim: int) -> None:
        self._path, self._dim = folder / JOURNAL, dim
        self._file: BinaryIO | None = None
        self._synced = 0.0

    def read(self) -> list[Row]:
        """All whole rows, in order.

        Raises:
            ClapError: it cannot be read.
        """
        if not self._path.exists():
            return []
        rows: list[Row] = []
        with files.reading(self._path, error=LibraryError) as file:
            for line in file:
                try:
                    if not line.endswith(b"\n"):
                        raise ValueError("torn")
                    rows.append(Row.of(schema.read_json(line, JOURNAL), self._dim))
                except (ValueError, SchemaError):
                    break  # what stands behind was written after it, and is not known to be whole
        return rows

    def begin(self, rows: Iterable[Row]) -> None:
        """Hold these rows and no others.

        Raises:
            ClapError: it cannot be written.
        """
        self.close()
        with files.writing(self._path, error=LibraryError) as part, part.open("wb") as file:
            for row in rows:
                file.write(_line(row))
        self._file = self._path.open("ab", buffering=0)

    def add(self, row: Row) -> None:
        """Take a row.

        Raises:
            ClapError: it cannot be written.
        """
        assert self._file is not None
        line = _line(row)
        try:
            written = self._file.write(line)
            if written != len(line):  # a disk that becomes full takes a part
                written += self._file.write(line[written:])
            if time.monotonic() - self._synced > SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise LibraryError(
                f"'{self._path}' cannot be written: {error.strerror or error}. What was finished "
                "is kept: free some space there, and run the same command again."
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _line(row: Row) -> bytes:
    try:
        return json.dumps(row.plain()).encode() + b"\n"
    except ValueError as error:
        raise ClapError(f"'{row.item.where}' cannot be kept ({error}).") from error
