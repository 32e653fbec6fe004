"""What can be measured, whatever runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from clap_export.bench.candidate import Candidate, Plan
from clap_export.bench.report import Model
from runtime import audio


@dataclass(frozen=True)
class Row:
    """A row of the report: its name, what is done in words, and one call for each part of it."""

    name: str
    detail: str
    tasks: tuple[Callable[[], object], ...]


class Subject(Protocol):
    """A candidate that is open and ready.

    Attributes:
        engine: what runs it.
        model: what it is.
    """

    engine: str
    model: Model

    def setup(self) -> list[Row]:
        """What happens once in a process."""
        ...

    def predict(self, path: Path) -> object:
        """From a file to scores of all labels."""
        ...

    def stages(self) -> list[Row]:
        """Parts of the way of each clip."""
        ...

    def batches(self) -> list[Row]:
        """The audio encoder on each size of batch; none for what takes single recordings."""
        ...

    def folder(self) -> tuple[int, int, list[Row]]:
        """Files, size of batch; many files in a stream, and their windows alone. No rows for
        peers."""
        ...

    def embed(self, path: Path) -> NDArray[np.float32]:
        """Unit embedding ``[dim]`` of a recording."""
        ...


def open_subject(candidate: Candidate, plan: Plan) -> Subject:
    """Open a candidate.

    Raises:
        ClapError: it cannot be used.
    """
    if candidate.kind == "bundle":
        from clap_export.bench.bundles import BundleSubject

        return BundleSubject(candidate, plan)
    if candidate.device == "cuda":
        from clap_export.bench.peers import cuda as cuda_peers

        return cuda_peers.KINDS[candidate.kind](candidate, plan)
    from clap_export.bench.peers import cpu as peers

    return peers.KINDS[candidate.kind](candidate, plan)


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
