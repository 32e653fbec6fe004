"""An engine that several threads share, that anyone may close, and that a fork leaves behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Generic, TypeVar

from runtime import forks

T = TypeVar("T")


class Lease(Generic[T]):
    """Opens something when it is first needed, and closes it when nobody uses it any more.

    :meth:`close` never waits and never takes it from those who are using it: they finish with what
    they have, the last of them closes it, and the next one to come opens it again.

    Args:
        open: makes it; by one thread at a time.
        close: releases it.
    """

    def __init__(self, open: Callable[[], T], close: Callable[[T], None]) -> None:
        self._open, self._close = open, close
        self._lock = threading.Lock()
        self._current: _Shared[T] | None = None
        forks.watch(self)

    @contextmanager
    def use(self, *, lasting: bool = True) -> Generator[T]:
        """Have it for the length of a block.

        Args:
            lasting: it counts as used from then on; see :meth:`close`.
        """
        with self._lock:
            shared = self._opened()
            shared.users += 1
            shared.used |= lasting
        try:
            yield shared.value
        finally:
            with self._lock:
                shared.users -= 1
                last = shared.retired and shared.users == 0
            if last:
                self._close(shared.value)

    def get(self) -> T:
        """Open it, or look at what is open, without a promise that it stays so."""
        with self._lock:
            return self._opened().value

    def close(self, *, only_unused: bool = False) -> None:
        """Close it, now or when those who use it are done.

        Args:
            only_unused: keep what anyone has ever used.
        """
        with self._lock:
            shared = self._current
            if shared is None or (only_unused and shared.used):
                return
            self._current, shared.retired = None, True
            idle = shared.users == 0
        if idle:
            self._close(shared.value)

    def forked(self) -> None:
        """In a child: the lock may be held by a thread that is not there; the engine has let go of
        itself."""
        self._lock = threading.Lock()
        self._current = None

    def _opened(self) -> _Shared[T]:
        if self._current is None:
            self._current = _Shared(self._open())
        return self._current


class _Shared(Generic[T]):
    def __init__(self, value: T) -> None:
        self.value = value
        self.users = 0
        self.used = self.retired = False
