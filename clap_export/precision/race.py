"""Which bundle on which engine is the quickest here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from runtime import Encoder
from runtime.bundle import Candidate, Precision

ROUNDS, WARM_UPS, RUNS, BATCH = 3, 3, 12, 4


def engines() -> tuple[str, ...]:
    """Providers for CPUs that are installed."""
    return ("cpu", "openvino") if find_spec("openvino") else ("cpu",)


def race(bundles: Sequence[Path], clip: Path) -> list[Candidate]:
    """Time the audio encoders on one window and on a batch.

    Every candidate has a turn in each of three rounds, alone: two engines that are open at once
    take the cores from each other, since their threads spin while they wait.

    Args:
        bundles: of one model, in different precisions.
        clip: a recording whose first window is used.

    Returns:
        a candidate for each bundle and engine: medians in milliseconds a window; quickest first
        by the sum of both.
    """
    entries = [(folder, provider) for folder in bundles for provider in engines()]
    seconds: dict[tuple[Path, str], list[list[float]]] = {entry: [[], []] for entry in entries}
    precisions: dict[Path, Precision] = {}
    for _ in range(ROUNDS):
        for folder, provider in entries:
            with Encoder(folder, providers=(provider,), check_hashes=False) as encoder:
                precisions[folder] = encoder.manifest.audio_graph.precision
                window = encoder.windows_of(clip)[:1]
                for times, size in zip(seconds[folder, provider], (1, BATCH), strict=True):
                    times += _times(encoder, np.repeat(window, size, axis=0))
    found = [
        Candidate(
            precisions[folder], provider,
            *(round(1e3 * float(np.median(times)), 3) for times in seconds[folder, provider]),
            chosen=False,
        )
        for folder, provider in entries
    ]  # fmt: skip
    return sorted(found, key=lambda candidate: candidate.single + candidate.batched)


def _times(encoder: Encoder, batch: np.ndarray) -> list[float]:
    """Seconds a window of each run."""
    times: list[float] = []
    for _ in range(WARM_UPS + RUNS):
        began = time.perf_counter()
        encoder.embed_windows(batch, len(batch))
        times.append((time.perf_counter() - began) / len(batch))
    return times[WARM_UPS:]
