"""The work on one request, which its client, its deadline or the server's end may stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from clap_export.serve.scheduler import Cancelled, Job, Late, Scheduler

T = TypeVar("T")
R = TypeVar("R")


class Work:
    """One request's. One thread works, any may stop it.

    Args:
        seconds: until its deadline, from now.
    """

    def __init__(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._job: Job[object, object] | None = None
        self._stopped = False

    @property
    def left(self) -> float:
        """Seconds until its deadline."""
        return self.deadline - time.monotonic()

    @contextmanager
    def job(self, scheduler: Scheduler[T, R]) -> Iterator[Job[T, R]]:
        """A job of a scheduler, which ends when this does.

        Raises:
            Cancelled, Late: it has ended.
        """
        with scheduler.job(self.deadline) as job:
            with self._lock:
                if self._stopped:
                    raise Cancelled
                self._job = job  # type: ignore[assignment]
            try:
                yield job
            finally:
                with self._lock:
                    self._job = None

    def stop(self) -> None:
        """End it, from any thread: its own gets ``Cancelled``."""
        with self._lock:
            self._stopped = True
            job = self._job
        if job is not None:
            job.cancel()

    def check(self) -> None:
        """Go on, or not.

        Raises:
            Cancelled, Late: it has ended.
        """
        if self._stopped:
            raise Cancelled
        if self.left < 0:
            raise Late
