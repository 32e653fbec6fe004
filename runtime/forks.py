"""What a process made by ``fork`` inherits and must not touch: engines whose threads stayed behind.

A forked child has the parent's memory but only one of its threads. To run or to free an inherited
engine is to wait for threads that are not there. So the child lets go of inherited engines without
freeing them, opens its own when it needs them, and leaves without running the destructors of
libraries that would wait as well. And a fork waits until no thread is inside a library, whose locks
would stay locked in the child.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol


class Inherited(Protocol):
    """Something that holds engines or locks."""

    def forked(self) -> None:
        """Called in the child: let go of what was inherited, with :func:`leak`."""
        ...


PATIENCE = 10.0  # seconds that a fork waits for threads inside libraries
_gate = threading.Condition()
_inside = [0]  # threads that are
_holders: weakref.WeakSet[Inherited] = weakref.WeakSet()
_known: list[int] = []  # the process whose forks are watched: once is enough
_leaked: list[object] = []


def watch(holder: Inherited) -> None:
    """Have ``holder.forked()`` called in children of this process."""
    _holders.add(holder)
    if not _known and hasattr(os, "register_at_fork"):
        _known.append(os.getpid())
        os.register_at_fork(
            before=_before, after_in_parent=lambda: _gate.release(), after_in_child=_in_child
        )


@contextmanager
def inside_library() -> Generator[None]:
    """For calls that a fork must not come between."""
    with _gate:
        _inside[0] += 1
    try:
        yield
    finally:
        with _gate:
            _inside[0] -= 1
            _gate.notify_all()


def leak(*inherited: object) -> None:
    """Keep objects for ever: their destructors would hang, also those at the end of the process."""
    for each in inherited:
        if each is not None:
            _leaked.append(each)
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))


def _before() -> None:
    _gate.acquire()  # held until the fork is done, by the thread that both processes have
    _gate.wait_for(lambda: not _inside[0], PATIENCE)


def _in_child() -> None:
    global _gate
    _gate, _inside[0] = threading.Condition(), 0
    for holder in list(_holders):
        holder.forked()
    _leave_at_exit()


def _leave_at_exit() -> None:
    """End the process before C++ destructors of static objects run, with its own exit code.

    Python has ended by then: its exit handlers ran, its files are flushed.
    """
    # glibc alone gives a handler the exit code; `_exit` takes it as its first argument.
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.on_exit(libc._exit, None)
