"""Batches of many requests: with an engine that the test holds, so that nothing is left to time."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from clap_export.serve.scheduler import LEAST, Cancelled, Job, Late, Plan, Scheduler
from runtime.errors import ClapError
from tests.clap_export.serve.running import PATIENCE, until


class Engine:
    """Doubles numbers, a batch whenever the test lets it."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self._steps = threading.Semaphore(0)
        self._began = threading.Condition()

    def run(self, items: list[int]) -> list[int]:
        with self._began:
            self.batches.append(list(items))
            self._began.notify_all()
        self._steps.acquire()
        if any(item < 0 for item in items):
            raise ValueError("negative")
        return [2 * item for item in items]

    def step(self, count: int = 1) -> None:
        self._steps.release(count)

    def began(self, count: int) -> None:
        """Wait until so many batches have begun."""
        with self._began:
            assert self._began.wait_for(lambda: len(self.batches) >= count, PATIENCE), self.batches


class Request:
    """A request in a thread of its own."""

    def __init__(self, scheduler: Scheduler[int, int], items: Iterator[int]) -> None:
        self.found: list[tuple[int, int]] = []
        self.error: BaseException | None = None
        self.job = scheduler.job()
        self._items = items
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        try:
            with self.job:
                for pair in self.job.results(self._items):
                    self.found.append(pair)
        except BaseException as error:
            self.error = error

    def done(self) -> None:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


@contextmanager
def scheduled(engine: Engine, plan: Plan) -> Iterator[Scheduler[int, int]]:
    made: Scheduler[int, int] = Scheduler(engine.run, plan)
    try:
        yield made
    finally:
        engine.step(100_000)
        made.close()


def test_every_result_goes_to_its_request_in_order() -> None:
    scheduler = Scheduler(lambda items: [3 * i for i in items], Plan(5, lanes=3, waiting=20))
    requests = [Request(scheduler, iter(range(n, n + 40 + n))) for n in range(12)]
    for n, request in enumerate(requests):
        request.done()
        assert request.found == [(i, 3 * i) for i in range(n, n + 40 + n)]
    assert scheduler.waiting == scheduler.jobs == 0
    scheduler.close()


def test_requests_share_batches_and_a_short_one_goes_first() -> None:
    engine = Engine()
    with scheduled(engine, Plan(4, waiting=64)) as scheduler:
        long = Request(scheduler, iter(range(1000)))
        engine.began(1)
        for n in range(2, 6):  # until it is no newcomer any more
            engine.step()
            engine.began(n)
        until(lambda: scheduler.waiting > 8)
        short = Request(scheduler, iter([5000]))
        until(lambda: bool(short.job.waiting))
        engine.step()
        engine.began(6)
        assert 5000 in engine.batches[5]
        assert len(engine.batches[5]) == 4  # and the rest of the batch is the long one's
        engine.step()
        short.done()
        assert short.found == [(5000, 10_000)]
        long.job.cancel()
        long.done()


def test_one_window_of_each_in_turn() -> None:
    engine = Engine()
    with scheduled(engine, Plan(6, waiting=60)) as scheduler:
        first = Request(scheduler, iter([1]))  # holds the engine
        engine.began(1)
        others = [Request(scheduler, iter(range(100 * n, 100 * n + 4))) for n in (1, 2, 3)]
        until(lambda: scheduler.waiting == 12)
        engine.step()
        engine.began(2)
        assert Counter(item // 100 for item in engine.batches[1]) == {1: 2, 2: 2, 3: 2}
        engine.step(10)
        for request in (first, *others):
            request.done()


def test_short_ones_do_not_starve_a_long_one() -> None:
    engine = Engine()
    with scheduled(engine, Plan(1, waiting=200)) as scheduler:
        long = Request(scheduler, iter(range(1000, 2000)))
        engine.began(1)
        for n in range(2, 12):
            engine.step()
            engine.began(n)
        until(lambda: len(long.job.waiting) > 20)  # while its thread stands still none is missed
        shorts = [Request(scheduler, iter([n])) for n in range(60)]
        until(lambda: all(s.job.waiting for s in shorts))
        before = len(engine.batches)
        for n in range(40):
            engine.step()
            engine.began(before + n + 1)
        of_long = sum(batch[0] >= 1000 for batch in engine.batches[before : before + 40])
        assert 8 <= of_long <= 12  # every fourth
        long.job.cancel()


def test_nothing_is_decoded_further_than_may_wait() -> None:
    engine, asked = Engine(), Counter[str]()

    def items(name: str) -> Iterator[int]:
        while True:
            asked[name] += 1
            yield 1

    with scheduled(engine, Plan(2, waiting=12)) as scheduler:
        first = Request(scheduler, items("first"))
        until(lambda: asked["first"] == 13)  # and one in hand
        time.sleep(0.05)
        assert asked["first"] == 13
        many = [Request(scheduler, items(f"{n}")) for n in range(20)]
        until(lambda: all(asked[f"{n}"] == LEAST + 1 for n in range(20)))
        assert scheduler.held == 12 + 20 * LEAST
        for request in (first, *many):
            request.job.cancel()
            request.done()
        assert scheduler.held == 0


def test_who_is_cancelled_waits_for_no_engine() -> None:
    engine = Engine()
    with scheduled(engine, Plan(1, waiting=8)) as scheduler:
        busy = Request(scheduler, iter([1]))
        engine.began(1)
        other = Request(scheduler, iter(range(10, 20)))
        until(lambda: scheduler.waiting == 4)
        other.job.cancel()
        other.done()
        assert isinstance(other.error, Cancelled)
        assert scheduler.waiting == 0
        engine.step()
        busy.done()
        assert engine.batches == [[1]]


def test_a_deadline_ends_what_waits_and_what_is_decoded() -> None:
    engine = Engine()
    with scheduled(engine, Plan(1)) as scheduler:
        busy = Request(scheduler, iter([1]))
        engine.began(1)
        began = time.monotonic()
        with scheduler.job(began + 0.1) as job, pytest.raises(Late):
            list(job.results([2]))
        assert 0.09 < time.monotonic() - began < PATIENCE
        with scheduler.job(time.monotonic() - 1) as job, pytest.raises(Late):
            list(job.results([3]))
        engine.step(5)
        busy.done()
        assert engine.batches == [[1]]


def test_a_request_that_breaks_a_batch_fails_alone() -> None:
    engine = Engine()
    with scheduled(engine, Plan(4)) as scheduler:
        busy = Request(scheduler, iter([1]))
        engine.began(1)
        good, bad = Request(scheduler, iter([5])), Request(scheduler, iter([-1]))
        until(lambda: scheduler.waiting == 2)
        engine.step(10)
        for request in (busy, good, bad):
            request.done()
        assert good.found == [(5, 10)]
        assert isinstance(bad.error, ValueError)
        assert sorted(engine.batches[1]) == [-1, 5]


def test_an_engine_that_gives_too_few_results_is_an_error_and_no_hang() -> None:
    scheduler: Scheduler[int, int] = Scheduler(lambda items: items[1:], Plan(2))
    request = Request(scheduler, iter([1]))
    request.done()
    assert isinstance(request.error, RuntimeError)
    assert scheduler.failed is not None
    scheduler.close()


def test_what_decoding_raises_is_raised() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    scheduler = Scheduler(lambda found: found, Plan(2))
    request = Request(scheduler, items())
    request.done()
    assert isinstance(request.error, OSError)
    assert scheduler.jobs == scheduler.waiting == 0
    scheduler.close()


def test_a_free_engine_does_not_wait() -> None:
    engine = Engine()
    with scheduled(engine, Plan(8)) as scheduler:
        brings_none = scheduler.job()
        one = Request(scheduler, iter([1]))
        engine.began(1)
        assert engine.batches == [[1]]
        engine.step()
        one.done()
        brings_none.close()


def test_a_patient_engine_waits_for_those_who_may_bring_more_and_no_longer() -> None:
    engine = Engine()
    with scheduled(engine, Plan(2, max_wait=2 * PATIENCE)) as scheduler:
        alone = Request(scheduler, iter([1]))  # nobody else: it is run at once
        engine.began(1)
        engine.step()
        alone.done()
        silent = scheduler.job()
        early = Request(scheduler, iter([2]))
        until(lambda: scheduler.waiting == 1)
        time.sleep(0.05)
        assert len(engine.batches) == 1
        late = Request(scheduler, iter([3]))  # the batch is full
        engine.began(2)
        assert sorted(engine.batches[1]) == [2, 3]
        engine.step()
        early.done()
        late.done()
        silent.close()
    engine = Engine()
    with scheduled(engine, Plan(2, max_wait=0.1)) as scheduler, scheduler.job():
        began = time.monotonic()
        early = Request(scheduler, iter([2]))
        engine.began(1)
        assert time.monotonic() - began > 0.09
        engine.step()
        early.done()


def test_closing_ends_everybody() -> None:
    engine = Engine()
    scheduler: Scheduler[int, int] = Scheduler(engine.run, Plan(1, waiting=4))
    requests = [Request(scheduler, iter(range(9))) for _ in range(3)]
    engine.began(1)
    engine.step(100)  # more than there are: a lane that is held is waited for
    scheduler.close()
    for request in requests:
        request.done()
        assert isinstance(request.error, Cancelled) or len(request.found) == 9
    with pytest.raises(Cancelled):
        scheduler.job()


def test_a_plan_that_makes_no_sense_is_refused() -> None:
    for wrong in ({"max_batch": 0}, {"lanes": 0}, {"max_wait": -1.0}, {"waiting": 0}):
        with pytest.raises(ClapError):
            Plan(**{"max_batch": 1, **wrong})


@pytest.mark.parametrize("how", ["cancelled", "late", "broken"])
def test_a_job_that_ended_early_is_free_without_a_search_for_cycles(how: str) -> None:
    def run(items: list[int]) -> list[int]:
        if how == "broken":
            raise ValueError("broken")
        return items

    scheduler = Scheduler[int, int](run, Plan(max_batch=2))

    def end() -> weakref.ref[Job[int, int]]:
        with scheduler.job(0.0 if how == "late" else None) as job:
            if how == "cancelled":
                job.cancel()
            try:
                list(job.results([1, 2, 3]))
            except (Cancelled, Late, ValueError):
                with pytest.raises((Cancelled, Late, ValueError)):
                    job.check()
                return weakref.ref(job)
        raise AssertionError("it did not end")

    gc.collect()
    gc.disable()
    try:
        seen = end()
        scheduler.close()
        assert seen() is None
    finally:
        gc.enable()
