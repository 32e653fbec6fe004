"""The C library's memory: where threads of the server get it, and when the system gets it back."""

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


def give_back() -> None:
    """Let the system have what is free in the arenas.

    By itself glibc gives back the end of an arena alone, so that one small object that lives keeps
    all that was once taken below it. It takes milliseconds, during which other threads go on; it
    does nothing where another C library is.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
