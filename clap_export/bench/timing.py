"""Timing of tasks in turn, and the statistics of the times."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import chain
from statistics import median

import numpy as np

from clap_export.bench.report import Latency


class OwnSeconds(float):
    """What a task returns that has timed itself, as by the GPU's own events: it stands in the
    report instead of the time that the whole task took."""


def interleave(
    tasks: Sequence[Callable[[], object]],
    runs: int,
    warmups: int,
    progress: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Time tasks in rounds A B C A B C …, so that all of them see the same drift of the machine.

    Args:
        tasks: each is called once a round.
        runs: rounds that are counted.
        warmups: rounds before them that are not.
        progress: told which round begins, between the timed stretches.
        clock: seconds from any origin.

    Returns:
        for each task its ``runs`` times in seconds, in the order of the rounds; those that it
        returned as :class:`OwnSeconds`, otherwise the clock's.
    """
    times: list[list[float]] = [[] for _ in tasks]
    for i in range(warmups + runs):
        progress(
            f"warm-up {i + 1} of {warmups}" if i < warmups else f"run {i - warmups + 1}/{runs}"
        )
        for task, kept in zip(tasks, times, strict=True):
            began = clock()
            found = task()
            spent = clock() - began
            if i >= warmups:
                kept.append(float(found) if isinstance(found, OwnSeconds) else spent)
    return times


def latency(*times: Sequence[float]) -> Latency:
    """Statistics over all given lists of times in seconds; percentiles are linearly interpolated.

    Raises:
        ValueError: no times.
    """
    together = list(chain(*times))
    if not together:
        raise ValueError("no times were given")
    ms = 1000 * np.array(together)
    middle, p90, p99 = (float(value) for value in np.percentile(ms, [50, 90, 99]))
    return Latency(len(ms), middle, p90, p99, float(ms.min()))


def pass_seconds(times: Sequence[Sequence[float]]) -> float:
    """How long doing each task once takes: the sum of the tasks' medians, in seconds. One slow run
    does not shift it, nor do tasks of different lengths."""
    return sum(median(each) for each in times)
