"""Which bundle on which engine is the quickest here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TypeAlias, get_args

import numpy as np

from clap_export.bench.timing import interleave
from runtime import Encoder, tuned
from runtime.bundle import Bundle
from runtime.cores import usable_cores
from runtime.errors import ClapError
from runtime.manifest import Candidate, Manifest
from runtime.tuned import Machine, Provider, Timing, Tuned

ROUNDS, WARM_UPS = 3, 2
PAIR = (1, 4)  # sizes of batches that decide: a recording by itself, and what a CPU takes at once
BATCHES = (*PAIR, 16)
# How much quicker fewer threads must be, or a larger batch: medians of two runs differ by so much.
CLEARLY = 0.95


Way: TypeAlias = tuple[str, Provider, "int | None", bool]


@dataclass(frozen=True)
class Course:
    """What is tried of each bundle.

    Attributes:
        providers: for CPUs, installed.
        threads: inside a run; None is the engine's own choice.
        batches: windows in a run; the first two are :data:`PAIR`.
        runs: of each in a round.
    """

    providers: tuple[Provider, ...]
    threads: tuple[int | None, ...] = (None,)
    batches: tuple[int, ...] = PAIR
    runs: int = 12

    @classmethod
    def whole(cls) -> Course:
        """All that a choice may be made of: engines, fewer threads than cores, larger batches."""
        cores = usable_cores()
        fewer = [n for n in (cores // 2, cores // 4) if n >= 1]
        return cls(engines(), (None, *fewer), BATCHES, 5)


@dataclass(frozen=True)
class Entry:
    """A bundle on an engine with so many threads.

    Attributes:
        bundle: its folder.
        timings: of each size of batch.
    """

    bundle: Path
    manifest: Manifest
    timings: tuple[Timing, ...]

    @property
    def cost(self) -> float:
        """Milliseconds for a window by itself, and one in a batch of four."""
        return sum(timing.milliseconds for timing in self.timings[: len(PAIR)])

    @property
    def threads(self) -> int | None:
        """Inside a run; None is the engine's own choice."""
        return self.timings[0].threads

    def candidate(self) -> Candidate:
        """As a manifest has it."""
        single, batched = (timing.milliseconds for timing in self.timings[: len(PAIR)])
        precision, provider = self.manifest.audio_graph.precision, self.timings[0].provider
        return Candidate(precision, provider, single, batched, chosen=False)


def engines() -> tuple[Provider, ...]:
    """Providers for CPUs that are installed."""
    modules: dict[Provider, str] = {"cpu": "onnxruntime", "openvino": "openvino"}
    found = tuple(name for name in get_args(Provider) if find_spec(modules[name]))
    if not found:
        raise ClapError("no engine for CPUs is installed: pip install onnxruntime, or openvino.")
    return found


def race(
    bundles: Sequence[Path],
    course: Course,
    clip: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Entry]:
    """Time the audio encoders.

    Every entry has a turn in each of three rounds, alone: two engines that are open at once take
    the cores from each other, since their threads spin while they wait.

    Args:
        bundles: of one model, in different precisions.
        course: engines, threads and sizes of batches.
        clip: a recording whose first window is used; None for noise, which takes as long.
        progress: called with whose turn it is.

    Returns:
        an entry for each bundle, engine and number of threads: medians in milliseconds a window;
        quickest first.
    """
    opened = [Bundle(folder, check_hashes=False) for folder in bundles]
    entrants: list[tuple[Bundle, Provider, int | None]] = [
        (b, p, t) for b in opened for p in course.providers for t in course.threads
    ]
    ways: dict[Way, tuple[Bundle, Provider, int | None]] = {}
    for entrant in entrants:
        ways.setdefault(_way(*entrant), entrant)
    seconds: dict[Way, list[list[float]]] = {way: [[] for _ in course.batches] for way in ways}
    halves: dict[Way, bool] = {}
    for turn in range(ROUNDS):
        for way, (bundle, provider, threads) in ways.items():
            precision = bundle.manifest.audio_graph.precision
            progress(f"round {turn + 1} of {ROUNDS}: {precision} on {provider}")
            with Encoder(bundle, providers=(provider,), threads=threads) as encoder:
                halves[way] = encoder.open_audio().bfloat16
                window = _window(encoder, clip)
                batches = [np.repeat(window, size, axis=0) for size in course.batches]
                tasks = [partial(encoder.embed_windows, batch, len(batch)) for batch in batches]
                found = interleave(tasks, course.runs, WARM_UPS)
            for times, new, size in zip(seconds[way], found, course.batches, strict=True):
                times += [spent / size for spent in new]

    def timings(way: Way, provider: Provider, threads: int | None) -> Iterator[Timing]:
        for size, times in zip(course.batches, seconds[way], strict=True):
            yield Timing(provider, threads, halves[way], size, round(1e3 * median(times), 3))

    entries = [
        Entry(b.folder, b.manifest, tuple(timings(_way(b, p, t), p, t))) for b, p, t in entrants
    ]
    return sorted(entries, key=lambda entry: entry.cost)


def _way(bundle: Bundle, provider: Provider, threads: int | None) -> Way:
    """What times depend on: on ONNX Runtime a bundle in bfloat16 is the same as one without."""
    graph = bundle.manifest.audio_graph
    sha256 = bundle.manifest.files[graph.file].sha256
    return sha256, provider, threads, provider == "openvino" and graph.bfloat16


def decide(entries: Sequence[Entry]) -> Tuned:
    """What one bundle is best run with here, to be written beside it.

    The quickest engine; all of its threads, unless fewer are clearly quicker; and a batch of four,
    unless another is clearly quicker.

    Args:
        entries: of one bundle, quickest first.
    """
    best = entries[0]
    if best.threads is not None:
        same = [e for e in entries if e.timings[0].provider == best.timings[0].provider]
        whole = next((e for e in same if e.threads is None), best)
        best = best if best.cost < CLEARLY * whole.cost else whole
    usual = best.timings[1]
    batch = min(best.timings, key=lambda timing: timing.milliseconds)
    if batch.milliseconds > CLEARLY * usual.milliseconds:
        batch = usual
    graph = best.manifest.audio_graph
    return Tuned(
        format=tuned.FORMAT,
        format_version=1,
        audio_sha256=best.manifest.files[graph.file].sha256,
        precision=graph.precision,
        machine=Machine.here(),
        provider=batch.provider,
        threads=best.threads,
        batch_size=batch.batch,
        timings=tuple(timing for entry in entries for timing in entry.timings),
    )


def chosen(entries: Sequence[Entry]) -> tuple[Candidate, ...]:
    """Entries as a manifest has them, the first being chosen. What was not computed in its own
    precision is another bundle's."""
    first, *others = (
        entry.candidate()
        for entry in entries
        if entry.timings[0].bfloat16 == entry.manifest.audio_graph.bfloat16
    )
    return (replace(first, chosen=True), *others)


def _window(encoder: Encoder, clip: Path | None) -> np.ndarray:
    """One window to time, float32 ``[1, window_samples]``."""
    if clip is not None:
        return np.asarray(encoder.windows_of(clip)[:1])
    length = encoder.manifest.audio.window_samples
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (1, length))
    return noise.astype(np.float32)
