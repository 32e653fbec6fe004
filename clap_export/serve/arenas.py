"""Where threads of the server get their memory from."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

M_ARENA_MAX = -8  # of glibc's malloc.h
ARENAS = 2


def few_arenas() -> None:
    """Let all threads share two of glibc's arenas, unless ``MALLOC_ARENA_MAX`` says another number.

    Else each of twenty threads has one of its own, and each keeps what the largest recording that
    it decoded took. Called before threads start; does nothing where another C library is.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)
