"""A process of its own for each candidate; of all candidates one works at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clap_export.bench.bundles import BundleSubject
from clap_export.bench.candidate import BULK, Candidate, Plan
from clap_export.bench.gpu import Meter
from clap_export.bench.machine import memory_mib
from clap_export.bench.process import Process
from clap_export.bench.report import Memory, Model
from clap_export.bench.rows import Row, rested_rows
from clap_export.bench.subject import open_subject
from clap_export.bench.timing import interleave

Times = list[list[float]]
Timed = list[tuple[str, str, Times]]  # of each row its name, its detail, and the times of its tasks

ENERGY_SECONDS = 1.0  # of each size of batch: the GPU's counter moves about ten times a second


class Worker(Process):
    """The parent's side; its methods are those of :class:`Bench`."""

    def __init__(self, candidate: Candidate, plan: Plan) -> None:
        super().__init__(Bench, candidate, plan, python=candidate.python)


class Bench:
    """One candidate, measured."""

    def __init__(self, candidate: Candidate, plan: Plan) -> None:
        self._candidate, self._plan = candidate, plan
        self._before = memory_mib()[0]
        self._meter: Meter | None = None
        self._gpu_mib = 0.0

    def open(self) -> tuple[Model, str]:
        """Open it; what it is, and what runs it."""
        if self._candidate.on_gpu:
            self._meter = Meter()
        with self._counted():
            self._subject = open_subject(self._candidate, self._plan)
            for path in self._plan.clips:
                self._subject.predict(path)
        self._ready = memory_mib()[0]
        return self._subject.model, self._subject.engine

    def setup(self, runs: int) -> Timed:
        """Time what happens once in a process."""
        with self._counted():
            return _time(self._subject.setup(), runs, 0)

    def embeddings(self) -> list[NDArray[np.float32]]:
        """Of the clips."""
        return [self._subject.embed(path) for path in self._plan.clips]

    def labels(self, names: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of labels; bundles alone are asked."""
        assert isinstance(self._subject, BundleSubject)
        return self._subject.embed_labels(names)

    def similarities(self, paths: Sequence[Path], bank: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of recordings to labels, ``[paths, labels]``."""
        return np.stack([self._subject.embed(path) for path in paths]) @ bank.T

    def prepare(self) -> tuple[int, int]:
        """Make all inputs; how many files the folder has, and its batch size."""
        predict = self._subject.predict

        def task(path: Path) -> Any:
            return lambda: predict(path)

        tasks = tuple(task(path) for path in self._plan.clips)
        with self._counted():
            files, size, folder = self._subject.folder()
            self._parts = {
                "whole": [Row("end to end", "", tasks)],
                "stages": self._subject.stages() + rested_rows(tasks, self._plan.rest),
                "batches": self._subject.batches(),
                "folder": folder,
            }
        return files, size

    def round(self, runs: int, warmups: int) -> dict[str, Timed]:
        """Time the rows, one after the other; by part of the report."""
        often = dict.fromkeys(self._parts, (runs, warmups))
        if self._plan.files >= BULK:
            often["folder"] = (1, 0)
        with self._counted():
            return {name: _time(rows, *often[name]) for name, rows in self._parts.items()}

    def energy(self, seconds: float = ENERGY_SECONDS) -> list[float | None]:
        """Millijoules of the GPU for one run of each row of batches, run without a pause."""
        return [self._joules(row, seconds) for row in self._parts["batches"]]

    def memory(self) -> Memory:
        """So far."""
        gpu = None if self._meter is None else self._gpu_mib
        return Memory(self._before, self._ready, *memory_mib(), gpu)

    def _joules(self, row: Row, seconds: float) -> float | None:
        before = None if self._meter is None else self._meter.millijoules()
        if self._meter is None or before is None:
            return None
        began, runs = time.perf_counter(), 0
        while not runs or time.perf_counter() - began < seconds:
            for task in row.tasks:
                task()
            runs += 1
        after = self._meter.millijoules()
        return None if after is None or after == before else (after - before) / runs

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Add what the GPU's memory grows by: of all processes this one alone works meanwhile."""
        before = 0.0 if self._meter is None else self._meter.used_mib()
        yield
        if self._meter is not None:
            self._gpu_mib += self._meter.used_mib() - before


def _time(rows: Sequence[Row], runs: int, warmups: int) -> Timed:
    """Each row's runs come one after the other: behind others its memory would have gone cold,
    and it would be timed as if it had rested."""
    return [(row.name, row.detail, interleave(row.tasks, runs, warmups)) for row in rows]
