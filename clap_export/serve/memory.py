"""Memory of the server: where its threads get it, and when the system gets it back."""

from __future__ import annotations

import ctypes
import gc
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


def settle() -> None:
    """Do not look for cycles among what lives as long as the process: everything so far.

    Python looks through old objects only once there are a quarter as many new ones. Of hundreds of
    thousands that engines and libraries have made, none will ever be free.
    """
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Let the system have what nobody uses: objects in cycles, and what is free in the arenas.

    An error that a library keeps has all that it went through, an upload too. And glibc by itself
    gives back the end of an arena alone, so that one small object that lives keeps all that was
    once taken below it. Both take milliseconds; where another C library is, only the first is done.
    """
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
