"""One Classifier for a long time: memory, descriptors and threads stay, and so do the numbers.

Memory is judged twice. What an allocator keeps of freed memory goes up and down with the order in
which arrays were freed; with it the process's size, as a user sees it, must level off. What is in
use, by the books of the C library's allocator and of Python's, must not grow at all.
"""

from __future__ import annotations

import ctypes
import gc
import operator
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import runtime
from clap_export.bench.machine import memory_mib
from runtime.errors import ClapError
from tests.tiny.bundle import wav

PROGRAM = 50  # rounds, in one of which the program ffmpeg is asked too: it takes so long
POINTS = 10  # at which the size of the process is looked at, on the way


@dataclass(frozen=True)
class Held:
    """What the process holds.

    Attributes:
        memory: MiB of the C library's allocator that are in use.
        objects: blocks of Python's allocator that are.
        size: MiB of the process.
        descriptors: that are open.
    """

    memory: float
    objects: int
    size: float
    descriptors: int
    threads: int

    @classmethod
    def now(cls) -> Held:
        """Of this process, after all that is free went back to the system."""
        gc.collect()
        libc = ctypes.CDLL(None)
        libc.malloc_trim(0)
        libc.mallinfo2.restype = _Books
        books = libc.mallinfo2()
        return cls(
            (books.in_arenas + books.in_maps) / 2**20, sys.getallocatedblocks(), memory_mib()[0],
            len(os.listdir("/proc/self/fd")), threading.active_count(),
        )  # fmt: skip


class _Books(ctypes.Structure):
    """glibc's ``struct mallinfo2``, over all arenas."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in ("arenas", "chunks", "small", "maps", "in_maps", "_a", "_b", "in_arenas",
                     "free", "releasable")
    )  # fmt: skip


@dataclass(frozen=True)
class Load:
    """What was done, and what it left behind.

    Attributes:
        grown_mib: memory in use afterwards, over that of the beginning.
        grown_objects: the same of Python's blocks.
        sizes_mib: of the process at each tenth of the way, over that of the beginning, with what
            its allocator keeps.
        different: answers that were not those of the first time.
    """

    predictions: int
    threads: int
    seconds: float
    grown_mib: float
    grown_objects: int
    sizes_mib: tuple[float, ...]
    descriptors: int
    new_threads: int
    different: int

    @property
    def levelled_mib(self) -> float:
        """By how much the second half of the way was larger than the first ever was."""
        half = len(self.sizes_mib) // 2
        return max(self.sizes_mib[half:]) - max(self.sizes_mib[:half])


class Watch:
    """Looks at the process before, on the way and after."""

    def __init__(self, threads: int) -> None:
        self._threads, self._sizes = threads, list[float]()
        self._before, self._began = Held.now(), time.perf_counter()

    def look(self, done: float) -> None:
        """Note the size if another tenth is done."""
        while len(self._sizes) < min(POINTS, int(done * POINTS)):
            self._sizes.append(round(memory_mib()[0] - self._before.size, 1))

    def load(self, predictions: int, different: int) -> Load:
        """The end."""
        seconds = time.perf_counter() - self._began
        self.look(1.0)
        after, before = Held.now(), self._before
        return Load(
            predictions, self._threads, round(seconds, 1),
            round(after.memory - before.memory, 2), after.objects - before.objects,
            tuple(self._sizes),
            after.descriptors - before.descriptors, after.threads - before.threads, different,
        )  # fmt: skip


def clips(rate: int, window: int) -> list[object]:
    """Good recordings of several kinds, and some that must be refused."""
    rng = np.random.default_rng(1)
    good = [rng.uniform(-1, 1, n).astype(np.float32) for n in (1, 500, window, 2 * window + 7)]
    # A rate of 1 Hz is refused at once; what is no audio is given to the program ffmpeg first.
    slow = wav(good[1], 1)
    return [*good, np.empty(0, np.float32), np.full(100, np.nan, np.float32), slow, 3.5]


def predict_for_long(bundle: Path, count: int) -> Load:
    """``count`` predictions one after another and in batches, bad recordings among them."""
    with runtime.Classifier(bundle, ["dog", "rain", "bell"], threads=1) as classifier:
        rate = classifier.manifest.audio.sample_rate
        items = clips(rate, classifier.manifest.audio.window_samples)
        answers = [_answer(classifier, item, rate) for item in items]

        def round_() -> int:
            found = [_answer(classifier, item, rate) for item in items]
            wrong = sum(map(operator.ne, found, answers))
            batch = list(classifier.predict_many(items, sample_rate=rate))
            wrong += [result.error is None for result in batch] != [
                isinstance(want, list) for want in answers
            ]
            abandoned = classifier.predict_many(items * 4, sample_rate=rate)
            next(abandoned)
            abandoned.close()
            return wrong

        for _ in range(20):
            round_()
        watch, done, different, rounds = Watch(1), 0, 0, 0
        while done < count:
            different += round_()
            done += 2 * len(items) + 1
            watch.look(done / count)
            rounds += 1
            if rounds % PROGRAM == 1:
                different += _answer(classifier, b"no audio", rate) != "AudioError"
        return watch.load(done, different)


def share_for_long(bundle: Path, threads: int, seconds: float) -> Load:
    """One Classifier in many threads, whose answers must be those of one thread to the bit."""
    with runtime.Classifier(bundle, ["dog", "rain", "bell"], threads=1) as classifier:
        rate = classifier.manifest.audio.sample_rate
        items = clips(rate, classifier.manifest.audio.window_samples)
        answers = [_answer(classifier, item, rate) for item in items]
        counts, wrong = [0] * threads, [0] * threads

        def work(place: int, end: float) -> None:
            while time.perf_counter() < end:
                which = (counts[place] + place) % len(items)
                found = _answer(classifier, items[which], rate)
                wrong[place] += found != answers[which]
                counts[place] += 1

        def run(duration: float, look: Callable[[float], None]) -> None:
            began = time.perf_counter()
            running = [
                threading.Thread(target=work, args=(i, began + duration)) for i in range(threads)
            ]
            for thread in running:
                thread.start()
            while (passed := time.perf_counter() - began) < duration:
                look(passed / duration)
                time.sleep(duration / POINTS / 10)
            for thread in running:
                thread.join()

        run(min(2.0, seconds / 4), lambda _: None)
        watch, before = Watch(threads), sum(counts)
        run(seconds, watch.look)
        return watch.load(sum(counts) - before, sum(wrong))


def _answer(classifier: runtime.Classifier, item: object, rate: int) -> object:
    try:
        return classifier.predict(item, rate if isinstance(item, np.ndarray) else None)  # type: ignore[arg-type]
    except ClapError as error:
        return type(error).__name__
