"""API keys: from a file, and compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from pathlib import Path

from clap_export.serve.log import log
from runtime import files
from runtime.errors import ClapError

LEAST = 16  # characters
MOST_BYTES = 64 << 10  # of the file: each request is compared with every key
VISIBLE = re.compile(r"[!-~]+")  # what a header can carry


class Keys:
    """The keys that open the server.

    Args:
        keys: of which any will do; none at all opens it to everybody.
    """

    def __init__(self, keys: tuple[str, ...] = ()) -> None:
        # Of one length, so that nothing can be learnt of a key's.
        self._digests = [_digest(key.encode()) for key in keys]

    @classmethod
    def read(cls, path: Path) -> Keys:
        """From a file with a key a line; blank lines and those with ``#`` are none.

        Raises:
            ClapError: it cannot be read, or has no key, or one that is short or cannot be sent.
        """
        data = files.read(path, most=MOST_BYTES)
        if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            log.warning(f"others can read the file of keys: chmod 600 '{path}'")
        # What is not UTF-8 becomes a character that no key may have; an editor's mark is no key's.
        lines = [line.strip() for line in data.decode("utf-8-sig", "replace").splitlines()]
        keys = tuple(line for line in lines if line and not line.startswith("#"))
        if not keys:
            raise ClapError(
                f"'{path}' holds no key: write one a line, as from: openssl rand -hex 32"
            )
        if any(len(key) < LEAST for key in keys):
            raise ClapError(
                f"'{path}' holds a key of less than {LEAST} characters: make one with: openssl "
                "rand -hex 32"
            )
        if not all(map(VISIBLE.fullmatch, keys)):
            raise ClapError(
                f"'{path}' holds a key with spaces, control characters or others than ASCII, which "
                "no client can send: make one with: openssl rand -hex 32"
            )
        return cls(keys)

    @property
    def wanted(self) -> bool:
        """Whether a key is needed."""
        return bool(self._digests)

    def fit(self, key: bytes) -> bool:
        """Whether a key is one of them; the time that it takes tells nothing."""
        given, found = _digest(key), False
        for digest in self._digests:
            found |= hmac.compare_digest(digest, given)
        return found


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
