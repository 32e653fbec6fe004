"""What is slow to derive from a bundle, kept in a folder from one start to the next.

Off unless ``CLAP_CACHE`` names a folder. What is kept there goes to native code, so it is trusted
only as far as this user's own files are: the folder, and all that is used of it, must be this
user's, and nobody else may write there; else it is not used, and a warning says so. An entry
belongs to one key, which names by hash all that it was derived from: it is looked up, never
guessed. Its files are hashed before they are used, which finds damage. Against a program that runs
as the same user there is no defence, here or anywhere: it could change this code as well.

Nothing that goes wrong here is an error: what is not there is derived again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import mmap
import os
import shutil
import stat
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from runtime import files
from runtime.cores import usable_cores
from runtime.errors import ClapError

SWITCH = "CLAP_CACHE"
RECORD = "record.json"
MOST_RECORD = 1 << 16  # bytes
MOST = 4 << 30  # bytes of all entries; the least recently used ones go first
PIECE = 8 << 20  # bytes that are hashed by one thread at a time
OTHERS = stat.S_IWGRP | stat.S_IWOTH

log = logging.getLogger(__name__)


class NotKept(Exception):
    """Whoever fills an entry cannot: nothing is kept."""


@dataclass(frozen=True)
class Cache:
    """A folder of entries, each a folder of files.

    Attributes:
        folder: it is made when something is first kept.
    """

    folder: Path

    @classmethod
    def wanted(cls) -> Cache | None:
        """The one that the environment names, if it does."""
        folder = os.environ.get(SWITCH)
        return cls(Path(os.path.realpath(os.path.expanduser(folder)))) if folder else None

    def find(self, kind: str, key: Mapping[str, object]) -> Path | None:
        """The folder that was kept under a key, if it is there and can be trusted.

        Args:
            kind: of thing, for its name.
            key: all that it was derived from; JSON.
        """
        entry = self._entry(kind, key)
        if not entry.is_dir() or not all(map(_ours, (self.folder, entry))):
            return None
        with contextlib.suppress(ClapError, OSError, ValueError, AttributeError):
            record = json.loads(files.read(entry / RECORD, most=MOST_RECORD))
            if not all(_ours(path) for path in entry.iterdir()):
                return None
            if record["key"] == _digest(key) and record["files"] == _hashes(entry):
                os.utime(entry)  # it was used
                return entry
        log.warning("'%s' is damaged, and made anew.", entry)
        return None

    def keep(self, kind: str, key: Mapping[str, object], fill: Callable[[Path], None]) -> None:
        """Keep files under a key.

        Args:
            kind: of thing, for its name.
            key: all that they were derived from; JSON.
            fill: puts them into a folder, or raises :class:`NotKept`.
        """
        entry = self._entry(kind, key)
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _ours(self.folder):
                return
            with files.scratch(entry) as part:
                os.chmod(part, 0o700)
                fill(part)
                self._publish(part, entry, _digest(key))
        except NotKept:
            pass
        except (ClapError, OSError) as problem:
            log.warning("nothing is kept in '%s': %s", self.folder, problem)

    def _publish(self, part: Path, entry: Path, digest: str) -> None:
        record = {"key": digest, "files": _hashes(part)}
        (part / RECORD).write_text(json.dumps(record), encoding="utf-8")
        for path in part.iterdir():
            path.chmod(0o600)
        if entry.exists():  # it was of no use
            shutil.rmtree(entry)
        others = [(path.stat().st_mtime, _size(path), path) for path in self.folder.glob("*-*")]
        used = _size(part) + sum(size for _, size, _ in others)
        for _, size, path in sorted(others):
            if used > MOST:
                shutil.rmtree(path, ignore_errors=True)
                used -= size
        files.publish(part, entry)

    def _entry(self, kind: str, key: Mapping[str, object]) -> Path:
        return self.folder / f"{kind}-{_digest(key)[:32]}"


def _ours(path: Path) -> bool:
    """Whether this is this user's, and nobody else may write it."""
    if not hasattr(os, "geteuid"):  # Windows: a user's folders are that user's
        return True
    found = path.lstat()
    if found.st_uid == os.geteuid() and not found.st_mode & OTHERS and not path.is_symlink():
        return True
    log.warning(
        "'%s' is not used: it must be this user's, and writable for nobody else. Name another "
        "folder in %s.", path, SWITCH,
    )  # fmt: skip
    return False


def _digest(key: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: _hash(path) for path in folder.iterdir() if path.name != RECORD}


def _hash(path: Path) -> str:
    """SHA-256 of the SHA-256 of pieces, which several cores take at once."""
    with files.reading(path) as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            return ""
        with (
            mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data,
            ThreadPoolExecutor(usable_cores(), thread_name_prefix="clap-hash") as pool,
            memoryview(data) as view,
        ):
            digests = list(pool.map(partial(_piece, view), range(0, size, PIECE)))
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _piece(view: memoryview, at: int) -> bytes:
    with view[at : at + PIECE] as piece:
        return hashlib.sha256(piece).digest()
