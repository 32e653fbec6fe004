"""Work of many requests in batches, for the lanes that run an engine. It knows no HTTP.

A request has a :class:`Job`, gives it windows one after the other, and gets each one's result back
in order. What may wait is bounded, so whoever gives windows is held up, and decodes no further than
the engine follows.

- **Fair.** A batch takes one window of each job in turn. The first windows of a job go before the
  later ones of others, so that a short clip does not wait behind long ones; every fourth window is
  a later one, so that these are not starved either.
- **Busy.** A lane that is free takes what waits at once, and shares it with other free lanes.
  Batches grow by themselves while all lanes are at work. With ``max_wait`` a lane waits that long
  for more, but only while an open job has none waiting and may still bring some.
- **Ending.** A job that is cancelled or late takes its waiting windows with it. A batch that fails
  is run again job by job: one request's fault is not the others'.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, cast

from runtime.arguments import number, whole
from runtime.errors import ClapError

T = TypeVar("T")
R = TypeVar("R")

FIRST = 8  # windows of a job that go before the later ones of others
LATER_EVERY = 4  # of so many windows one is a later one, if any waits
LEAST = 2  # windows that every job may have waiting
LOOK = 0.5  # seconds after which a waiting thread looks up, whatever it has missed


class Cancelled(Exception):
    """Nobody waits for this job any more."""


class Late(Exception):
    """The job's deadline is over."""


@dataclass(frozen=True)
class Plan:
    """How batches are made.

    Attributes:
        max_batch: windows of a batch.
        max_wait: seconds that a window may wait for a batch to fill.
        lanes: batches that are run at a time, each in a thread.
        waiting: windows that may wait, of all jobs together; a job may always have two.

    Raises:
        ClapError: a value out of range.
    """

    max_batch: int
    max_wait: float = 0.0
    lanes: int = 1
    waiting: int = 32

    def __post_init__(self) -> None:
        for name in ("max_batch", "lanes", "waiting"):
            whole(name, getattr(self, name), most=1 << 16)
        if number("max_wait", self.max_wait, "a number of seconds") < 0:
            raise ClapError(f"max_wait={self.max_wait}: pass at least 0 seconds.")


class Watch(Protocol):
    """Is told what lanes do; from their threads."""

    def ran(self, windows: int, jobs: int, seconds: float, waited: float) -> None:
        """A batch is done: of how many jobs, how long it took, how long its first window waited."""
        ...


class Scheduler(Generic[T, R]):
    """Runs the windows of jobs.

    Args:
        run: windows to their results, in order; called from each lane's thread.
        plan: of the batches.
        watch: is told of each batch.
    """

    def __init__(
        self, run: Callable[[list[T]], Sequence[R]], plan: Plan, watch: Watch | None = None
    ) -> None:
        self._run, self.plan, self._watch = run, plan, watch
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        # Jobs with windows that wait: those that have had few so far, and the others.
        self._first: deque[Job[T, R]] = deque()
        self._later: deque[Job[T, R]] = deque()
        self._jobs: set[Job[T, R]] = set()
        # Windows that wait, and all that are given and not taken; lanes that are free; windows
        # that were picked so far.
        self._waiting = self._held = self._idle = self._picked = 0
        self._closed = False
        self.failed: str | None = None
        self._lanes = [
            threading.Thread(target=self._lane, name=f"clap-lane-{i}", daemon=True)
            for i in range(plan.lanes)
        ]
        for lane in self._lanes:
            lane.start()

    @property
    def waiting(self) -> int:
        """Windows that wait now."""
        return self._waiting

    @property
    def held(self) -> int:
        """Windows that were given, and their results not taken."""
        return self._held

    @property
    def jobs(self) -> int:
        """Jobs that are open now."""
        return len(self._jobs)

    def job(self, deadline: float | None = None) -> Job[T, R]:
        """Open a job; to be closed.

        Args:
            deadline: by ``time.monotonic``; what waits then is dropped.

        Raises:
            Cancelled: the scheduler was closed.
        """
        made = Job(self, self._lock, deadline)
        with self._lock:
            if self._closed:
                raise Cancelled
            self._jobs.add(made)
        return made

    def close(self) -> None:
        """End all jobs and lanes; waits for the batches that run."""
        with self._lock:
            self._closed = True
            for job in list(self._jobs):
                self._end(job, Cancelled)
            self._work.notify_all()
        for lane in self._lanes:
            lane.join()

    # What follows is called by jobs, with the lock held.

    def _room(self, given: int) -> bool:
        """Whether a job that has given so many may give more."""
        share = self.plan.waiting // max(1, len(self._jobs))
        return given < LEAST or (given < share and self._held < self.plan.waiting)

    def _give(self, job: Job[T, R], slot: _Slot[T, R]) -> None:
        self._held += 1
        if not job.waiting:
            self._queue_of(job).append(job)
        job.waiting.append(slot)
        self._waiting += 1
        self._work.notify()

    def _end(self, job: Job[T, R], error: type[BaseException] | BaseException) -> None:
        """A job takes no more; its thread gets the error, a new one of a type."""
        if job.error is None:
            job.error = error
        self._forget(job)
        job.changed.notify_all()

    def _forget(self, job: Job[T, R]) -> None:
        if job.waiting:
            self._queue_of(job).remove(job)
            self._waiting -= len(job.waiting)
            job.waiting.clear()
        self._jobs.discard(job)

    def _queue_of(self, job: Job[T, R]) -> deque[Job[T, R]]:
        return self._first if job.picked < FIRST else self._later

    # What follows is the lanes' own.

    def _lane(self) -> None:
        while (batch := self._taken()) is not None:
            began = time.monotonic()
            self._hear(batch)
            if self._watch is not None:
                jobs = len({id(slot.job) for slot in batch})
                waited = began - min(slot.since for slot in batch)
                self._watch.ran(len(batch), jobs, time.monotonic() - began, waited)

    def _taken(self) -> list[_Slot[T, R]] | None:
        with self._lock:
            self._idle += 1
            try:
                while True:
                    if self._closed:
                        return None
                    left = self._patience()
                    if left is None:
                        found = self._batch()
                        if found:
                            return found
                    else:
                        self._work.wait(left)
            finally:
                self._idle -= 1

    def _patience(self) -> float | None:
        """Seconds for which a lane waits for more; None when it should begin."""
        if not self._waiting:
            return LOOK
        wait, full = self.plan.max_wait, self._waiting >= self.plan.max_batch
        if full or not wait or not any(job.may_bring for job in self._jobs):
            return None
        oldest = min(job.waiting[0].since for queue in (self._first, self._later) for job in queue)
        left = oldest + wait - time.monotonic()
        return left if left > 0 else None

    def _batch(self) -> list[_Slot[T, R]]:
        # What waits is shared with other lanes that are free.
        size = min(self.plan.max_batch, -(-self._waiting // max(1, self._idle)))
        found: list[_Slot[T, R]] = []
        now = time.monotonic()
        while len(found) < size and self._waiting:
            turn = self._picked % LATER_EVERY == LATER_EVERY - 1
            queues = (self._later, self._first) if turn else (self._first, self._later)
            job = next(queue for queue in queues if queue)[0]
            if job.deadline is not None and now > job.deadline:
                self._end(job, Late)
                continue
            self._queue_of(job).popleft()
            found.append(job.waiting.popleft())
            self._waiting -= 1
            self._picked += 1
            job.picked += 1
            if job.waiting:
                self._queue_of(job).append(job)
        if self._waiting:
            self._work.notify()
        return found

    def _hear(self, batch: list[_Slot[T, R]]) -> None:
        try:
            found = self._results(batch)
            self.failed = None  # before anybody has a result of it, and asks whether it works again
            self._done(batch, found)
        except BaseException as error:  # it is raised where the results are read
            jobs = list(dict.fromkeys(slot.job for slot in batch))
            if len(jobs) == 1:
                self.failed = type(error).__name__
                with self._lock:
                    self._end(jobs[0], error)
                return
            for job in jobs:
                self._hear([slot for slot in batch if slot.job is job])

    def _results(self, batch: list[_Slot[T, R]]) -> Sequence[R]:
        found = self._run([slot.item for slot in batch])
        if len(found) != len(batch):
            raise RuntimeError(f"{len(batch)} windows gave {len(found)} results")
        return found

    def _done(self, batch: list[_Slot[T, R]], found: Sequence[R]) -> None:
        with self._lock:
            for slot, result in zip(batch, found, strict=True):
                slot.result, slot.done = result, True
                slot.job.changed.notify_all()


class _Slot(Generic[T, R]):
    """A window on its way."""

    __slots__ = ("done", "item", "job", "result", "since")

    def __init__(self, job: Job[T, R], item: T) -> None:
        self.job, self.item, self.since = job, item, time.monotonic()
        self.result: R | None = None
        self.done = False


class Job(Generic[T, R]):
    """The windows of one request; made by :meth:`Scheduler.job`.

    One thread gives and takes; any may cancel.
    """

    def __init__(
        self, scheduler: Scheduler[T, R], lock: threading.Lock, deadline: float | None
    ) -> None:
        self._scheduler, self._lock, self.deadline = scheduler, lock, deadline
        self.changed = threading.Condition(lock)
        self.waiting: deque[_Slot[T, R]] = deque()
        self._given: deque[_Slot[T, R]] = deque()  # and not taken yet
        self.picked = 0
        # Of types, where it can be: an error that was raised keeps all that it went through, this
        # job too, until somebody looks for cycles.
        self.error: type[BaseException] | BaseException | None = None
        self._complete = False

    @property
    def may_bring(self) -> bool:
        """Whether it has nothing that waits now, and may have in a moment."""
        return not (self._complete or self.waiting)

    def results(self, items: Iterable[T]) -> Generator[tuple[T, R]]:
        """Run items, and pair each with its result, in order.

        Items are asked for only as far ahead as they may wait.

        Raises:
            Cancelled, Late: it ended before.
            Exception: whatever ``run`` raised.
        """
        for item in items:
            with self._lock:
                ready = self._ready(room=True)
            yield from ready
            with self._lock:
                self._check()
                slot = _Slot(self, item)
                self._given.append(slot)
                self._scheduler._give(self, slot)
        self._complete = True
        while self._given:
            with self._lock:
                ready = self._ready(room=False)
            yield from ready

    def check(self) -> None:
        """Go on, or not.

        Raises:
            Cancelled, Late: it ended.
        """
        with self._lock:
            self._check()

    def cancel(self) -> None:
        """End it, from any thread: the thread that gives and takes gets ``Cancelled`` at once."""
        with self._lock:
            self._scheduler._end(self, Cancelled)

    def close(self) -> None:
        """Nothing is given or taken any more."""
        with self._lock:
            self._scheduler._forget(self)
            self._scheduler._held -= len(self._given)
            self._given.clear()
            if self.error is not None:
                self.error = Cancelled

    def __enter__(self) -> Job[T, R]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ready(self, room: bool) -> list[tuple[T, R]]:
        """Results that are there; waits for one where none is and it must.

        Args:
            room: it must only where no more may be given.
        """
        while True:
            self._check()
            found: list[tuple[T, R]] = []
            while self._given and self._given[0].done:
                slot = self._given.popleft()
                found.append((slot.item, cast(R, slot.result)))
            self._scheduler._held -= len(found)
            if found or (room and self._scheduler._room(len(self._given))):
                return found
            left = LOOK if self.deadline is None else self.deadline - time.monotonic()
            self.changed.wait(max(0.0, min(LOOK, left)) or 0.001)

    def _check(self) -> None:
        if self.error is None and self.deadline is not None and time.monotonic() > self.deadline:
            self._scheduler._end(self, Late)
        if self.error is not None:
            raise self.error
