"""Rows of a report: what is timed under one name, and those that several subjects share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clap_export.bench.candidate import Plan
from clap_export.bench.timing import OwnSeconds
from runtime import audio


@dataclass(frozen=True)
class Row:
    """A row of the report: its name, what is done in words, and one call for each part of it."""

    name: str
    detail: str
    tasks: tuple[Callable[[], object], ...]


def loading_rows(paths: Sequence[Path], rate: int) -> list[Row]:
    """Decoding and resampling each clip; those that have the model's rate are not resampled."""
    clips = [(path, *audio.decode(path)) for path in paths]

    def decode(path: Path) -> Callable[[], object]:
        return lambda: audio.decode(path)

    def resample(samples: NDArray[np.float32], found: int) -> Callable[[], object]:
        return lambda: audio.resample(samples, found, rate)

    rows = [Row("decode", "file to mono float32", tuple(decode(path) for path in paths))]
    changed = [(samples, found) for _, samples, found in clips if found != rate]
    if changed:
        rates = ", ".join(str(found) for found in sorted({found for _, found in changed}))
        detail = f"{rates} to {rate} Hz"
        rows.append(Row("resample", detail, tuple(resample(*clip) for clip in changed)))
    return rows


def rested_rows(tasks: Sequence[Callable[[], object]], rest: float | None) -> list[Row]:
    """End to end after ``rest`` seconds without work, as where recordings come now and then: the
    weights' memory has gone cold by then, most of all on a machine that others share."""
    if rest is None:
        return []

    def rested(task: Callable[[], object]) -> Callable[[], OwnSeconds]:
        def run() -> OwnSeconds:
            time.sleep(rest)
            began = time.perf_counter()
            task()
            return OwnSeconds(time.perf_counter() - began)

        return run

    detail = f"file to scores after {rest:g} s without work"
    return [Row("rested", detail, tuple(rested(task) for task in tasks))]


def batch_rows(
    embed: Callable[[NDArray[np.float32]], object], windows: NDArray[np.float32], plan: Plan
) -> list[Row]:
    """Batches of windows ``[n, window_samples]``, which are repeated as often as needed."""

    def run(batch: NDArray[np.float32]) -> Callable[[], object]:
        return lambda: embed(batch)

    return [
        Row(f"batch {size}", "", (run(windows[np.arange(size) % len(windows)]),))
        for size in plan.batches
    ]
