"""Names for what is being written, beside what it becomes; and locks on it.

A temporary is locked while its writer lives. So the next writer of the same name can tell what a
killed process left behind, and removes it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import zlib
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: left-overs of killed processes stay
    fcntl = None

LOCKS = fcntl is not None
# Neither through a link, nor waiting for whoever writes into a pipe.
NO_SURPRISE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
MAX_NAME = 80  # bytes of a name kept in its temporary's: file systems take 255 bytes


def sweep(path: Path) -> None:
    """Remove temporaries of ``path`` whose writers are dead."""
    if fcntl is None:
        return
    for left in path.parent.glob(f"{_glob(prefix(path))}*.part"):
        owner = left.name.removeprefix(prefix(path)).split("-")[0]
        if not (owner.isascii() and owner.isdecimal() and len(owner) < 10) or _alive(int(owner)):
            continue
        with contextlib.suppress(OSError):
            descriptor = os.open(left, os.O_RDONLY | NO_SURPRISE)
            try:
                if locked(descriptor):
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
            finally:
                os.close(descriptor)


def temporary(path: Path) -> Path:
    """A name that nobody has, on the file system of ``path``."""
    return path.with_name(f"{prefix(path)}{os.getpid()}-{secrets.token_hex(4)}.part")


def prefix(path: Path) -> str:
    """What temporaries of this file on this host begin with."""
    owner = zlib.crc32(f"{socket.gethostname()}/".encode() + os.fsencode(path.name))
    return f".{short(path.name)}.{owner:08x}-"


def short(name: str) -> str:
    """A name that leaves room for more; cut by bytes, as a character may have four."""
    whole = os.fsencode(name)
    if len(whole) <= MAX_NAME:
        return name
    return f"{whole[:MAX_NAME].decode(errors='ignore')}.{zlib.crc32(whole):08x}"


def _glob(text: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def locked(descriptor: int | None) -> bool:
    """Whether the lock could be had; true where there are no locks."""
    if fcntl is None or descriptor is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
