"""What all peers on a CPU and a GPU have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import TypeVar

import torch

from clap_export.bench.candidate import FOLDER_BATCH, LABELS, Candidate, Plan
from clap_export.bench.report import Model
from clap_export.bench.rows import Row

TOP_K = 5
MOST_SHAPES = 64  # that torch.compile may compile for

C = TypeVar("C")


class Peer:
    """What all peers have in common."""

    engine = ""
    model: Model
    device = "cpu"

    def __init__(self, candidate: Candidate, plan: Plan) -> None:
        self._plan = plan
        torch.set_num_threads(candidate.threads or torch.get_num_threads())

    def setup(self) -> list[Row]:
        """Nothing: what happens once is timed of bundles only."""
        return []

    def folder(self) -> tuple[int, int, list[Row]]:
        """Nothing: a peer on a GPU is measured by its batches."""
        return 0, 0, []

    def in_batches(
        self,
        load: Callable[[Path], C],
        scores: Callable[[Sequence[C]], object],
        embed: Callable[[Sequence[C]], object],
    ) -> tuple[int, int, list[Row]]:
        """Batches of files, one after the other: such code has no threads of its own.

        Args:
            load: what the encoder is given of a file.
            scores: a batch's files to their scores.
            embed: a batch's files to their embeddings.
        """
        files, size = self._plan.files, FOLDER_BATCH["cpu"]
        loaded = {path: load(path) for path in self._plan.clips}
        paths = list(islice(cycle(loaded), files))
        batches = [paths[i : i + size] for i in range(0, files, size)]

        @torch.inference_mode()
        def stream() -> None:
            for batch in batches:
                scores([load(path) for path in batch])

        @torch.inference_mode()
        def encode() -> None:
            for batch in batches:
                embed([loaded[path] for path in batch])

        return files, size, [
            Row("folder", "batches of files", (stream,)), Row("encoder", "", (encode,))
        ]  # fmt: skip


def sizes(path: Path) -> dict[str, int]:
    """Of a checkpoint's files; none for a hub id."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {file.name: file.stat().st_size for file in files if file.is_file()}


def labels(dim: int, device: str) -> torch.Tensor:
    """Unit vectors ``[labels, dim]`` in their place: their values do not change the work."""
    return torch.nn.functional.normalize(torch.randn(LABELS, dim)).to(device)
