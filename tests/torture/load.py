"""One Classifier for a long time: memory, descriptors and threads stay, and so do the numbers."""

from __future__ import annotations

import gc
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import runtime
from runtime.errors import ClapError


@dataclass(frozen=True)
class Held:
    """What the process holds: bytes of memory, open descriptors, threads."""

    memory: int
    descriptors: int
    threads: int

    @classmethod
    def now(cls) -> Held:
        """Of this process."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return cls(
            pages * os.sysconf("SC_PAGE_SIZE"),
            len(os.listdir("/proc/self/fd")),
            threading.active_count(),
        )


@dataclass(frozen=True)
class Load:
    """What was done, how much the process grew by it, and answers that were not the first one."""

    predictions: int
    threads: int
    seconds: float
    grown_mib: float
    descriptors: int
    new_threads: int
    different: int


def clips(rate: int, window: int) -> list[object]:
    """Good recordings of several kinds, and some that must be refused."""
    rng = np.random.default_rng(1)
    good = [rng.uniform(-1, 1, n).astype(np.float32) for n in (1, 500, window, 2 * window + 7)]
    return [*good, np.empty(0, np.float32), np.full(100, np.nan, np.float32), b"no audio", 3.5]


def predict_for_long(bundle: Path, count: int) -> Load:
    """``count`` predictions one after another and in batches, bad recordings among them."""
    with runtime.Classifier(bundle, ["dog", "rain", "bell"], threads=1) as classifier:
        spec = classifier.manifest.audio
        items = clips(spec.sample_rate, spec.window_samples)
        answers = [_answer(classifier, item, spec.sample_rate) for item in items]
        for _ in range(20):
            for item in items:
                _answer(classifier, item, spec.sample_rate)
        before, began, different = Held.now(), time.perf_counter(), 0
        done = 0
        while done < count:
            for item, want in zip(items, answers, strict=True):
                different += _answer(classifier, item, spec.sample_rate) != want
            batch = list(classifier.predict_many(items, sample_rate=spec.sample_rate))
            different += [result.error is None for result in batch] != [
                isinstance(want, list) for want in answers
            ]
            abandoned = classifier.predict_many(items * 4, sample_rate=spec.sample_rate)
            next(abandoned)
            abandoned.close()
            done += 2 * len(items) + 1
        after = Held.now()
    return _load(done, 1, began, before, after, different)


def share_for_long(bundle: Path, threads: int, seconds: float) -> Load:
    """One Classifier in many threads, whose answers must be those of one thread to the bit."""
    with runtime.Classifier(bundle, ["dog", "rain", "bell"], threads=1) as classifier:
        spec = classifier.manifest.audio
        items = clips(spec.sample_rate, spec.window_samples)
        answers = [_answer(classifier, item, spec.sample_rate) for item in items]
        counts, wrong = [0] * threads, [0] * threads
        end = time.perf_counter() + seconds

        def work(place: int) -> None:
            while time.perf_counter() < end:
                which = (counts[place] + place) % len(items)
                found = _answer(classifier, items[which], spec.sample_rate)
                wrong[place] += found != answers[which]
                counts[place] += 1

        def round_() -> None:
            running = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
            for thread in running:
                thread.start()
            for thread in running:
                thread.join()

        end = time.perf_counter() + min(2.0, seconds / 4)
        round_()  # allocators keep an arena for each thread
        before, began = Held.now(), time.perf_counter()
        end = began + seconds
        round_()
        after = Held.now()
    return _load(sum(counts), threads, began, before, after, sum(wrong))


def _answer(classifier: runtime.Classifier, item: object, rate: int) -> object:
    try:
        return classifier.predict(item, rate if isinstance(item, np.ndarray) else None)  # type: ignore[arg-type]
    except ClapError as error:
        return type(error).__name__


def _load(
    predictions: int, threads: int, began: float, before: Held, after: Held, different: int
) -> Load:
    return Load(
        predictions, threads, round(time.perf_counter() - began, 1),
        round((after.memory - before.memory) / 2**20, 1),
        after.descriptors - before.descriptors, after.threads - before.threads, different,
    )  # fmt: skip
