"""Samples that wait for the engine: none is lost in silence, and memory is bounded."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import ClapError
from runtime.listening.backlog import Backlog, Piece, Stopped

PATIENCE = 60.0  # seconds after which something will never come, however busy the machine is


def piece(first: int, count: int = 100, gap: float = 0.0) -> Piece:
    """``count`` samples at 1 kHz, numbered."""
    return Piece(np.arange(first, first + count), 1_000, gap)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)


def test_pieces_come_out_as_they_went_in() -> None:
    backlog = Backlog(1.0, drop=True)
    for i in range(5):
        backlog.put(piece(100 * i))
    assert backlog.waiting == pytest.approx(0.5)
    backlog.end()
    assert np.array_equal(np.concatenate([p.samples for p in backlog]), np.arange(500))
    assert (backlog.waiting, backlog.dropped) == (0.0, 0.0)


def test_the_oldest_are_dropped_and_leave_a_gap() -> None:
    backlog = Backlog(0.3, drop=True)
    for i in range(5):
        backlog.put(piece(100 * i, gap=2.0 if i == 1 else 0.0))
    backlog.end()
    first, *others = backlog
    assert first.samples[0] == 200
    assert first.gap == pytest.approx(0.2 + 2.0)  # two pieces, and the gap that one of them had
    assert [p.samples[0] for p in others] == [300, 400]
    assert [p.gap for p in others] == [0.0, 0.0]
    assert backlog.dropped == pytest.approx(0.2)


def test_one_long_piece_is_taken() -> None:
    backlog = Backlog(0.3, drop=True)
    backlog.put(piece(0, 100))
    backlog.put(piece(100, 5_000))
    backlog.end()
    (only,) = backlog
    assert (len(only.samples), only.gap) == (5_000, pytest.approx(0.1))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 700), st.integers(0, 3), st.booleans())))
def test_time_is_never_lost(steps: list[tuple[int, int, bool]]) -> None:
    """What was taken, its gaps included, lasts as long as what was put."""
    backlog = Backlog(0.5, drop=True)
    put = taken = 0.0
    pieces = iter(backlog)
    for count, gap, take in steps:
        backlog.put(piece(0, count, float(gap)))
        put += count / 1_000 + gap
        assert backlog.waiting <= max(0.5, count / 1_000) + 1e-9
        if take:
            one = next(pieces)
            taken += one.gap + one.seconds
    backlog.end()
    taken += sum(p.gap + p.seconds for p in pieces)
    assert taken == pytest.approx(put)


def test_a_source_that_can_wait_is_made_to() -> None:
    backlog = Backlog(0.3, drop=False)
    put: list[int] = []

    def feed() -> None:
        for i in range(10):
            backlog.put(piece(100 * i))
            put.append(i)
        backlog.end()

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    until(lambda: len(put) == 3)
    time.sleep(0.05)
    assert len(put) == 3
    assert np.array_equal(np.concatenate([p.samples for p in backlog]), np.arange(1_000))
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert backlog.dropped == 0.0


def test_an_error_comes_behind_what_waits() -> None:
    backlog = Backlog(1.0, drop=True)
    backlog.put(piece(0))
    backlog.end(ValueError("the device is gone"))
    pieces = iter(backlog)
    assert next(pieces).samples[0] == 0
    with pytest.raises(ValueError, match="gone"):
        next(pieces)


def test_stopping_ends_both_sides() -> None:
    full = Backlog(0.1, drop=False)
    full.put(piece(0))
    ended: list[str] = []

    def feed() -> None:
        try:
            full.put(piece(100))
        except Stopped:
            ended.append("put")

    def take(backlog: Backlog) -> None:
        ended.extend("taken" for _ in backlog)
        ended.append("end")

    empty = Backlog(0.1, drop=True)
    threads = [threading.Thread(target=feed), threading.Thread(target=take, args=(empty,))]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    full.stop()
    empty.stop()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(ended) == ["end", "put"]
    assert list(full) == []


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signals here")
def test_a_signals_handler_may_stop_it() -> None:
    """In the thread that waits in it."""
    backlog = Backlog(1.0, drop=True)
    before = signal.signal(signal.SIGUSR1, lambda *_: backlog.stop())
    later = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
    try:
        start = time.monotonic()
        later.start()
        assert list(backlog) == []
        assert time.monotonic() - start < PATIENCE
    finally:
        later.join()
        signal.signal(signal.SIGUSR1, before)


def test_a_length_that_is_none() -> None:
    for seconds in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ClapError, match="seconds"):
            Backlog(seconds, drop=True)
