"""Which bundle on which engine is the quickest here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from clap_export.bench.timing import interleave
from runtime import Encoder
from runtime.manifest import Candidate, Precision

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
                batches = [np.repeat(window, size, axis=0) for size in (1, BATCH)]
                tasks = [partial(encoder.embed_windows, batch, len(batch)) for batch in batches]
                found = interleave(tasks, RUNS, WARM_UPS)
                for times, new, batch in zip(
                    seconds[folder, provider], found, batches, strict=True
                ):
                    times += [spent / len(batch) for spent in new]
    candidates = [
        Candidate(
            precisions[folder], provider,
            *(round(1e3 * float(np.median(times)), 3) for times in seconds[folder, provider]),
            chosen=False,
        )
        for folder, provider in entries
    ]  # fmt: skip
    return sorted(candidates, key=lambda candidate: candidate.single + candidate.batched)
