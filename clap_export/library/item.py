"""One recording that a source names: a file, or a member of a shard."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import TypeAlias

from runtime.errors import AudioError
from runtime.plain_text import printable

Key: TypeAlias = "tuple[str, str | None]"  # path and member

CHUNK = 1 << 20  # bytes that are hashed at a time
LATEST = (1 << 63) - 1  # nanoseconds, and the largest number of a column


@dataclass(frozen=True, slots=True)
class Item:
    """A recording, and how its file was when it was listed.

    Attributes:
        path: absolute, of the file or the shard.
        member: name inside the shard, or None.
        size: in bytes; None for a file that could not be looked at.
        mtime_ns: when the file, or the shard, was changed last.
        offset: of the member's bytes in the shard.
    """

    path: str
    member: str | None = None
    size: int | None = None
    mtime_ns: int | None = None
    offset: int | None = None

    @classmethod
    def of(cls, path: str) -> Item:
        """A file, whether it is there or not."""
        absolute = os.path.abspath(path)
        try:
            found = os.stat(absolute)
        except (OSError, ValueError):
            return cls(absolute)
        return cls(absolute, None, found.st_size, mtime_ns(found))

    @property
    def key(self) -> Key:
        """What a recording is known by in a library."""
        return text(self.path), None if self.member is None else text(self.member)

    @property
    def where(self) -> str:
        """For sentences."""
        return printable(self.path if self.member is None else f"{self.path}: {self.member}")


@dataclass(frozen=True, slots=True)
class Opened:
    """A recording's bytes as they were found.

    Attributes:
        item: with the size and time of the file that was hashed.
        source: path, or the bytes of a member.
        sha256: of the bytes, in hex; None where there is an error.
        error: why it cannot be read.
    """

    item: Item
    source: str | bytes
    sha256: str | None
    error: str | None = None

    def changed(self) -> bool:
        """Whether the file is another one by now."""
        now = Item.of(self.item.path)
        size = now.size if self.item.member is None else self.item.size
        return (size, now.mtime_ns) != (self.item.size, self.item.mtime_ns)


def mtime_ns(found: os.stat_result) -> int:
    """When a file was changed last, in nanoseconds since 1970; the last that 64 bits hold for one
    of a later year than 2262, as clocks that were set wrong make them."""
    return max(-LATEST - 1, min(found.st_mtime_ns, LATEST))


def text(name: str) -> str:
    """A name as a part has it: of one that is not UTF-8 the bytes are escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def opened(item: Item) -> Opened:
    """Hash a recording; whatever is wrong with it is its error."""
    try:
        check_name(item)
        if item.member is not None:
            data = _member(item)
            return Opened(item, data, hashlib.sha256(data).hexdigest())
        digest = hashlib.sha256()
        with open(item.path, "rb", buffering=0, opener=_opener) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise AudioError(f"'{item.where}' is not a file.")
            while data := file.read(CHUNK):
                digest.update(data)
        now = Item(item.path, None, found.st_size, mtime_ns(found))
        return Opened(now, item.path, digest.hexdigest())
    except FileNotFoundError:
        return Opened(item, item.path, None, f"'{item.where}' does not exist. Check the path.")
    except OSError as error:
        reason = error.strerror or error
        return Opened(item, item.path, None, f"'{item.where}' cannot be read ({reason}).")
    except (AudioError, ValueError) as error:
        return Opened(item, item.path, None, str(error))


def _opener(path: str, flags: int) -> int:
    # Else a pipe without a writer is waited for.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _member(item: Item) -> bytes:
    assert item.offset is not None
    assert item.size is not None
    with open(item.path, "rb", buffering=0) as file:
        found = os.fstat(file.fileno())
        if mtime_ns(found) != item.mtime_ns:
            raise AudioError(f"the shard of '{item.where}' changed while it was read.")
        data = None
        # A header may say anything, and a read asks for all of that memory first.
        if 0 <= item.size <= found.st_size - item.offset:
            file.seek(item.offset)
            data = file.read(item.size)
    if data is None or len(data) != item.size:
        raise AudioError(f"'{item.where}' is cut off: the shard ends before it does.")
    return data


def check_name(item: Item) -> None:
    """See that a name can be written down.

    Raises:
        AudioError: it cannot.
    """
    try:
        f"{item.path}{item.member}".encode()
    except UnicodeEncodeError:
        raise AudioError(f"the name of '{item.where}' is not text in UTF-8: rename it.") from None
