"""The bytes of an audio file, in memory or on disk, and views of a part of them."""

from __future__ import annotations

import io
import os
from typing import BinaryIO

from runtime.errors import without_frames

WINDOW = 1 << 20  # bytes of a file that are kept for looking at its structure


class Content:
    """The bytes of a file: read at any place, a window at a time.

    Args:
        data: all of them, or a file object that can seek, whose content begins where it stands.
        path: of that file, if it has one.
        descriptor: of that file, if another process may be given it in place of its bytes.
    """

    def __init__(
        self, data: bytes | BinaryIO, path: str | None = None, descriptor: int | None = None
    ) -> None:
        self.path, self.descriptor = path, descriptor
        self.data = data if isinstance(data, bytes) else None
        self._file = io.BytesIO(data) if isinstance(data, bytes) else data
        self._origin = self._file.tell()
        self.size = max(0, self._file.seek(0, os.SEEK_END) - self._origin)
        self._kept, self._start = b"", 0

    def at(self, offset: int, count: int) -> bytes:
        """Bytes at a place; fewer at the end of the file.

        Raises:
            OSError: the file cannot be read.
        """
        if count > WINDOW:
            return self._read(offset, count)
        inside = offset - self._start
        if not (inside >= 0 and inside + count <= len(self._kept)):
            self._kept, self._start, inside = self._read(offset, WINDOW), offset, 0
        return self._kept[inside : inside + count]

    def _read(self, offset: int, count: int) -> bytes:
        self._file.seek(self._origin + offset)
        data = self._file.read(count)
        while data and len(data) < count and (more := self._file.read(count - len(data))):
            data += more  # a file object may give less than it has
        return data

    def find(self, wanted: bytes, start: int) -> int:
        """Where some bytes come next; -1 if they do not."""
        while start < self.size:
            self.at(start, len(wanted))  # has it in the window
            found = self._kept.find(wanted, start - self._start)
            if found >= 0:
                return self._start + found
            start = max(start + 1, self._start + len(self._kept) - len(wanted) + 1)
        return -1


class View(io.RawIOBase):
    """``head``, then the bytes from ``start`` to ``end``, as a file of its own.

    Attributes:
        problem: of the disk, met while libsndfile was reading; a callback of C code cannot raise.
    """

    def __init__(self, content: Content, start: int, end: int, head: bytes = b"") -> None:
        self._content, self._start, self._head = content, start, head
        self._size = len(head) + end - start
        self._at = 0
        self.problem: OSError | None = None

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Fill a buffer; fewer bytes at the end."""
        wanted = max(0, min(len(buffer), self._size - self._at))
        before = len(self._head) - self._at
        try:
            if before > 0:
                found = self._head[self._at : self._at + wanted]
            else:
                found = self._content.at(self._start - before, wanted)
        except OSError as error:
            self.problem = without_frames(error)
            found = b""
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """As of any file."""
        return self._at
