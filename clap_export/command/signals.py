"""Signals that ask a process to end, as exceptions: what is half-made is removed on the way out."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ASKING = ("SIGINT", "SIGTERM", "SIGHUP")
# Python drops an exception that is raised inside a finaliser (``__del__``), and libraries have
# places that drop any. So the request is repeated until the process ends, after this many seconds.
REPEAT = 0.5
# An exception in these would leave a lock held for ever, or one free that is thought to be held:
# ``with condition`` counts as entered only when its function has returned. A thread that sets a
# future's result would then wait for its lock, and what waits for the thread's end for the thread.
LOCKING = frozenset(
    getattr(threading.Condition, name).__code__
    for name in ("__enter__", "__exit__", "_release_save", "_acquire_restore")
)
SOON = 0.01  # seconds until it is raised instead


class Signalled(KeyboardInterrupt):
    """The process was asked to end; code that lets Ctrl-C pass lets this pass too."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def raising(asked: list[int]) -> Iterator[None]:
    """Raise :class:`Signalled` in the main thread for each of :data:`ASKING`.

    Their numbers are put into ``asked``: a library may turn the exception into one of its own.

    A signal that is ignored (as under ``nohup``) stays so. While an exception of a signal is on its
    way, more signals do not disturb the cleaning up: service managers send several at once.

    Under torchrun signals keep their defaults: a process that waits for the others in C would not
    hear of an exception, while the default ends it at once.
    """
    if threading.current_thread() is not threading.main_thread() or "RANK" in os.environ:
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if number != getattr(signal, "SIGALRM", None):
            asked.append(number)
        if asked and not _on_its_way(sys.exc_info()[1]):
            repeats = hasattr(signal, "setitimer")  # not on Windows
            wait = repeats and frame is not None and frame.f_code in LOCKING
            if repeats:
                signal.setitimer(signal.ITIMER_REAL, SOON if wait else REPEAT, REPEAT)
            if not wait:
                raise Signalled(asked[0])

    before: dict[int, Any] = {}
    for name in (*ASKING, "SIGALRM"):
        number = getattr(signal, name, None)  # Windows lacks some
        ours = (signal.SIG_DFL, signal.default_int_handler)
        if number is not None and signal.getsignal(number) in ours:
            before[number] = signal.signal(number, handle)
    report = sys.unraisablehook
    sys.unraisablehook = lambda lost: None if _on_its_way(lost.exc_value) else report(lost)
    try:
        yield
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = report


def _on_its_way(error: BaseException | None) -> bool:
    """Whether an exception is a signal's, or was raised while one was being handled."""
    while error is not None:
        if isinstance(error, Signalled):
            return True
        error = error.__context__
    return False
