"""A thread's stack for signals, kept from OpenVINO.

Where the CPU has AMX, OpenVINO's CPU plugin gives the thread that loads it a stack of its own for
signals. It frees that stack when it is unloaded, and takes it back only from the thread that
unloads it. If that is another thread, the first one is left with a stack that is gone, and the next
signal it handles, be it Ctrl-C, ends the process without a word. So the thread gets back what it
had: its own stack, or one that is large enough for AMX, as Python's ``faulthandler`` makes it.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Generator
from contextlib import contextmanager


class Stack(ctypes.Structure):
    """``stack_t`` of Linux (sigaltstack(2))."""

    _fields_ = (
        ("ss_sp", ctypes.c_void_p),
        ("ss_flags", ctypes.c_int),
        ("ss_size", ctypes.c_size_t),
    )


@contextmanager
def kept() -> Generator[None]:
    """Whatever is loaded inside, this thread's stack for signals is the same afterwards.

    A stack that the kernel takes for too small by then is not given back.
    """
    if sys.platform != "linux":
        yield
        return
    exchange, before = ctypes.CDLL(None).sigaltstack, Stack()
    known = exchange(None, ctypes.byref(before)) == 0
    try:
        yield
    finally:
        if known:
            exchange(ctypes.byref(before), None)
