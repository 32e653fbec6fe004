"""Banks of labels with names: those that the server was started with, and those kept in a
folder."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path

from clap_export.serve.limits import BANKS_READ
from clap_export.serve.problems import Problem
from runtime import LabelBank
from runtime.errors import BundleError, LabelError

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
MOST = 1000  # banks in a folder
SUFFIX = ".npz"


class NamedBanks:
    """Banks by name.

    Args:
        space_id: that they must be of.
        dim: of the embeddings.
        given: banks that cannot be changed.
        folder: where the others are, or None for none.
        writable: they may be made and removed.
    """

    def __init__(
        self,
        space_id: str,
        dim: int,
        given: Mapping[str, LabelBank],
        folder: Path | None = None,
        writable: bool = False,
    ) -> None:
        self._space_id, self._dim = space_id, dim
        self._given, self._folder, self.writable = dict(given), folder, writable
        self._lock = threading.Lock()
        self._read: dict[str, tuple[tuple[int, int], LabelBank]] = {}
        for bank in self._given.values():
            self._check(bank)

    @property
    def default(self) -> LabelBank | None:
        """Of requests that bring no labels: the first one given."""
        return next(iter(self._given.values()), None)

    @property
    def default_name(self) -> str | None:
        """Its name."""
        return next(iter(self._given), None)

    def names(self) -> list[str]:
        """All of them."""
        found = set(self._given)
        if self._folder is not None:
            with contextlib.suppress(OSError):
                stems = [p.name.removesuffix(SUFFIX) for p in self._folder.glob(f"*{SUFFIX}")]
                found.update(stem for stem in stems if NAME.fullmatch(stem))
        return sorted(found)

    def get(self, name: str) -> LabelBank:
        """One of them.

        Raises:
            Problem: 404, there is none.
            LabelError, BundleError: its file cannot be used.
        """
        if name in self._given:
            return self._given[name]
        path = self._path(name)
        try:
            found = path.stat()
        except OSError:
            raise _missing(name) from None
        version = (found.st_mtime_ns, found.st_size)
        with self._lock:
            kept = self._read.get(name)
            if kept is not None and kept[0] == version:
                return kept[1]
        try:
            bank = LabelBank.load(path, mmap=True)
            self._check(bank)
        except (LabelError, BundleError) as error:
            sentence = str(error).replace(str(path), name)
            raise Problem(409, "bank", f"the bank {name!r} cannot be used: {sentence}") from error
        with self._lock:
            self._read[name] = version, bank
            while len(self._read) > BANKS_READ:
                del self._read[next(iter(self._read))]
        return bank

    def check_writable(self, name: str) -> None:
        """Say at once that a bank may not be changed.

        Raises:
            Problem: it may not.
        """
        self._writable(name)

    def put(self, name: str, bank: LabelBank) -> None:
        """Keep one; one of the same name is replaced.

        Raises:
            Problem: it may not be.
            LabelError: it cannot be written.
        """
        path = self._writable(name)
        with self._lock:
            if not path.exists() and len(self.names()) >= MOST:
                raise Problem(409, "bank", f"there are {MOST} banks already: remove one first.")
            try:
                bank.save(path, overwrite=True)
            except LabelError as error:
                sentence = str(error).replace(str(path), name)
                raise Problem(503, "disk", f"the bank was not kept: {sentence}") from error
            self._read.pop(name, None)

    def remove(self, name: str) -> None:
        """Forget one.

        Raises:
            Problem: it may not be, or there is none.
        """
        path = self._writable(name)
        with self._lock:
            self._read.pop(name, None)
            try:
                os.unlink(path)
            except FileNotFoundError:
                raise _missing(name) from None
            except OSError as error:
                sentence = f"the bank was not removed: {error.strerror}."
                raise Problem(503, "disk", sentence) from error

    def _writable(self, name: str) -> Path:
        if name in self._given:
            raise Problem(
                403, "bank", f"the bank {name!r} was given when the server was started, and stays."
            )
        if not self.writable or self._folder is None:
            raise Problem(
                403, "bank", "banks cannot be changed here: start the server with --banks DIR "
                "--allow-banks.",
            )  # fmt: skip
        return self._path(name)

    def _path(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise Problem(
                422, "bank", "a bank's name has 1 to 64 of the characters a-z, 0-9, '.', '_' and "
                "'-', and begins with a letter or digit.",
            )  # fmt: skip
        if self._folder is None:
            raise _missing(name)
        return self._folder / f"{name}{SUFFIX}"

    def _check(self, bank: LabelBank) -> None:
        bank.check_space(self._space_id)
        bank.check_dim(self._dim, "bundle")


def _missing(name: str) -> Problem:
    return Problem(404, "bank", f"there is no bank {name!r}: GET /v1/banks lists them.")
