"""What a process made by ``fork`` inherits and must not touch: engines whose threads stayed behind.

A forked child has the parent's memory but only one of its threads. To run or to free an inherited
engine is to wait for threads that are not there. So the child lets go of inherited engines without
freeing them, opens its own when it needs them, and leaves without running the destructors of
libraries that would wait as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import weakref
from typing import Protocol


class Inherited(Protocol):
    """Something that holds engines or locks."""

    def forked(self) -> None:
        """Called in the child: let go of what was inherited, with :func:`leak`."""
        ...


_holders: weakref.WeakSet[Inherited] = weakref.WeakSet()
_known: list[int] = []  # the process whose forks are watched: once is enough
_leaked: list[object] = []


def watch(holder: Inherited) -> None:
    """Have ``holder.forked()`` called in children of this process."""
    _holders.add(holder)
    if not _known and hasattr(os, "register_at_fork"):
        _known.append(os.getpid())
        os.register_at_fork(after_in_child=_in_child)


def leak(*inherited: object) -> None:
    """Keep objects for ever: their destructors would hang, also those at the end of the process."""
    for each in inherited:
        if each is not None:
            _leaked.append(each)
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))


def _in_child() -> None:
    before = len(_leaked)
    for holder in list(_holders):
        holder.forked()
    if len(_leaked) > before:
        _leave_at_exit()


def _leave_at_exit() -> None:
    """End the process before C++ destructors of static objects run, with its own exit code.

    Python has ended by then: its exit handlers ran, its files are flushed.
    """
    # glibc alone gives a handler the exit code; `_exit` takes it as its first argument.
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.on_exit(libc._exit, None)
