"""Bodies of requests: in memory while there is room, else in private files that leave nothing."""

from __future__ import annotations

import os
import threading
from typing import BinaryIO

from runtime.audio import spool
from runtime.errors import AudioError

NAME = "the recording"


class NoRoom(Exception):
    """There is no room for an upload now: others must end first."""


class NoDisk(Exception):
    """The disk is full, or cannot be written to: an upload cannot be kept."""


class Uploads:
    """Room for all uploads together.

    Args:
        memory: bytes of all that are in memory.
        disk: bytes of all that are in files.
        each: bytes of one that may be in memory.
    """

    def __init__(self, memory: int, disk: int, each: int = spool.IN_MEMORY) -> None:
        self.memory, self.disk, self._each = Room(memory), Room(disk), each

    def new(self) -> Upload:
        """An empty one; to be closed."""
        return Upload(self.memory, self.disk, self._each)


class Upload:
    """One body as it comes; made by :meth:`Uploads.new`. Used by one thread at a time."""

    def __init__(self, memory: Room, disk: Room, each: int) -> None:
        self._memory, self._disk, self._each = memory, disk, each
        self._data: bytearray | bytes = bytearray()
        self._file: BinaryIO | None = None
        self.size = 0

    def fits(self, count: int) -> bool:
        """Whether so many more bytes stay in memory; to write others takes a while."""
        return self._file is None and self.size + count <= self._each

    def write(self, piece: bytes) -> None:
        """Add bytes.

        Raises:
            NoRoom: too much is kept for others.
            NoDisk: there is none for it.
        """
        try:
            self._write(piece)
        except AudioError as error:  # it names a folder of this machine
            raise NoDisk from error

    def _write(self, piece: bytes) -> None:
        if self._file is None:
            if self.fits(len(piece)) and self._memory.take(len(piece)):
                self.size += len(piece)
                self._data += piece
                return
            self._move()
        assert self._file is not None
        if not self._disk.take(len(piece)):
            raise NoRoom
        self.size += len(piece)
        spool.add(self._file, piece, NAME)

    def source(self) -> bytes | str:
        """What the runtime reads.

        Raises:
            AudioError: there is nothing in it.
        """
        if self._file is not None:
            described = f"/proc/self/fd/{self._file.fileno()}"
            return described if os.path.exists(described) else str(self._file.name)
        if not self.size:
            raise AudioError(f"{NAME} is empty (0 bytes).")
        self._data = bytes(self._data)
        return self._data

    def close(self) -> None:
        """Let go of it; nothing stays."""
        size, self.size = self.size, 0
        if self._file is None:
            self._memory.give(size)
        else:
            self._file.close()
            self._disk.give(size)
        self._data, self._file = b"", None

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _move(self) -> None:
        """From memory to the disk."""
        if not self._disk.take(self.size):
            raise NoRoom
        try:
            file = spool.private(NAME)
        except BaseException:
            self._disk.give(self.size)
            raise
        self._file = file
        self._memory.give(self.size)
        data, self._data = self._data, b""
        spool.add(file, bytes(data), NAME)


class Room:
    """Bytes that are free; threads may share it."""

    def __init__(self, free: int) -> None:
        self.free, self._lock = free, threading.Lock()

    def take(self, count: int) -> bool:
        """Whether so many could be had."""
        with self._lock:
            if count > self.free:
                return False
            self.free -= count
            return True

    def give(self, count: int) -> None:
        """Give them back."""
        with self._lock:
            self.free += count
