"""A data set's folder as its authors publish it, read strictly."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from runtime.errors import ClapError
from runtime.problems import listed
from train.published.dataset import Dataset, LabelledFile

SHOWN = 300  # characters of a file in a message

# Path relative to the data set's folder, classes, fold.
Listed = tuple[str, Sequence[str], str]


class Layout:
    """Access to the files of one data set.

    Args:
        root: the data set's folder.
        task: name of the benchmark, for messages.
        download: what must be unpacked there, for messages.
        extension: of the audio files, when they were converted to another format than published.
        partial: recordings may be absent (clips that are no longer on YouTube).

    Raises:
        ClapError: no such folder, or one that cannot be read.
    """

    def __init__(
        self, root: Path, task: str, download: str, extension: str | None, partial: bool
    ) -> None:
        self.root, self.task, self._download = root, task, download
        self._extension, self._partial = extension, partial
        try:
            self._holds()
        except (OSError, ValueError) as error:
            raise ClapError(
                f"task {task}: {root} is no folder that can be read ({error}). {self._advice()}"
            ) from error

    def file(self, name: str) -> Path:
        """A file that must be there.

        Raises:
            ClapError: it is not.
        """
        path = self.root / name
        if not os.path.isfile(path):
            raise ClapError(
                f"task {self.task} reads {name}, but {self.root} holds {self._holds()}. "
                f"{self._advice()}"
            )
        return path

    def first(self, *names: str) -> str:
        """The first of some files or folders that is there; if none is, the first of all."""
        return next((name for name in names if os.path.exists(self.root / name)), names[0])

    def text(self, name: str) -> str:
        """A text file, UTF-8 with or without a byte order mark.

        Raises:
            ClapError: missing or unreadable.
        """
        path = self.file(name)
        try:
            return path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ClapError(f"task {self.task}: {path} cannot be read ({error}).") from error

    def table(
        self, name: str, columns: Sequence[str], *, header: bool = True, delimiter: str = ","
    ) -> list[dict[str, str]]:
        """Rows of a CSV file with at least these columns; lines that begin with # are comments.

        Args:
            name: relative to the folder.
            columns: that are read; of a file without a header, all of them in order.
            header: the first line names the columns.
            delimiter: between them.

        Raises:
            ClapError: missing, unreadable, without rows, or with other columns.
        """
        path, lines = self.root / name, self.text(name).split("\n")
        reader = csv.DictReader(
            [f"{line}\n" for line in lines if not line.startswith("#")],
            None if header else columns, delimiter=delimiter, skipinitialspace=True,
        )  # fmt: skip
        try:
            rows = list(reader)
        except csv.Error as error:
            raise ClapError(
                f"task {self.task}: {path} is no table: row {reader.line_num}: {error}. "
                f"{self._advice()}"
            ) from error
        has = reader.fieldnames or ()
        if absent := [column for column in columns if column not in has]:
            raise ClapError(
                f"task {self.task}: {path} has no column {', '.join(absent)}; it has "
                f"{shorten(', '.join(has)) or 'nothing'}. {self._advice()}"
            )
        if not rows:
            raise ClapError(f"task {self.task}: {path} has no rows. {self._advice()}")
        for number, row in enumerate(rows, start=1):
            more = any(map(str.strip, row.get(None) or ()))  # where DictReader puts them
            if more or None in map(row.get, columns):
                raise ClapError(
                    f"task {self.task}: {path} has too {'many' if more else 'few'} columns in row "
                    f"{number}. {self._advice()}"
                )
        return rows

    def lines(self, name: str) -> list[str]:
        """Lines of a text file that are not blank."""
        return [line.strip() for line in self.text(name).split("\n") if line.strip()]

    def audio_in(self, pattern: str, *others: str) -> list[str]:
        """Relative paths, as published, of the audio files that fit a pattern, in order.

        Names that begin with a dot are passed over: archives that were made on a Mac hold them.

        Args:
            pattern: relative to the folder.
            others: of other distributions; the first one that any file fits is taken.

        Raises:
            ClapError: there is none.
        """
        given = (pattern, *others)
        pattern = next((one for one in given if any(self.root.glob(one))), pattern)
        wanted = Path(pattern)
        here = wanted.with_suffix(self._suffix(pattern)).as_posix()
        shown = (path for path in self.root.glob(here) if not path.name.startswith("."))
        found = sorted(path.relative_to(self.root) for path in shown)
        if not found:
            raise ClapError(
                f"task {self.task} reads {here}, but {self.root} holds {self._holds()}. "
                f"{self._advice()}"
            )
        return [path.with_suffix(wanted.suffix).as_posix() for path in found]

    def find(self, names: Iterable[str]) -> tuple[list[Path | None], int]:
        """Audio files by their published relative paths; None for the absent, and their number.

        Raises:
            ClapError: files are absent where none may be, or all are.
        """
        asked = list(names)
        paths = [self._path(name) for name in asked]
        found = [path if os.path.isfile(path) else None for path in paths]
        absent = [path for path, there in zip(paths, found, strict=True) if there is None]
        if absent and (not self._partial or len(absent) == len(asked)):
            raise ClapError(
                f"task {self.task}: {len(absent)} of {len(asked)} listed recordings are not there, "
                f"the first is {shorten(str(absent[0]))}. {self._advice()} Converted files of the "
                "same names need --extension."
            )
        return found, len(absent)

    def dataset(self, labels: Sequence[str], listed: Iterable[Listed]) -> Dataset:
        """Recordings that are there, with classes that are among the labels.

        Underscores in names of classes become spaces.

        Raises:
            ClapError: nothing listed, absent recordings (see :meth:`find`), unknown classes.
        """
        rows = [(name, [x.replace("_", " ") for x in of], fold) for name, of, fold in listed]
        known = [label.replace("_", " ") for label in labels]
        if other := sorted({label for _, of, _ in rows for label in of} - set(known)):
            raise ClapError(
                f"task {self.task}: {self.root} has classes that are not the data set's: "
                f"{shorten(', '.join(other[:5]))}. {self._advice()}"
            )
        if not rows:
            raise ClapError(f"task {self.task}: {self.root} lists no recordings. {self._advice()}")
        paths, absent = self.find(name for name, _, _ in rows)
        items = [
            LabelledFile(path, tuple(of), fold)
            for path, (_, of, fold) in zip(paths, rows, strict=True)
            if path is not None
        ]
        return Dataset(tuple(known), tuple(items), absent)

    def _path(self, name: str) -> Path:
        """Where a recording lies by its published relative path."""
        wanted = Path(name)
        return self.root / (wanted.with_suffix(self._suffix(name)) if wanted.name else wanted)

    def _suffix(self, name: str) -> str:
        return Path(name).suffix if self._extension is None else f".{self._extension}"

    def _holds(self) -> str:
        names = sorted(path.name for path in self.root.iterdir())
        return listed(names, shown=5, between=", ") or "nothing"

    def _advice(self) -> str:
        return f"Unpack {self._download} and point --data at it, or at the folder above."


def shorten(text: str) -> str:
    """What a file says, as far as a message has room for it."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
