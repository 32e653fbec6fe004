"""Damaged inputs by the thousand, in processes of their own, with bounds on time and memory."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.places import ROOT
from tests.torture import found as known

HANG = 30.0  # seconds after which an input counts as one that never ends
SLOW = 5.0
LARGE = 1 << 30  # bytes by which one input may make the process grow


@dataclass
class Found:
    """How a reader took its inputs.

    Attributes:
        outcomes: number of inputs that were accepted, refused, escaped, crashed, hung.
        problems: what must not be, a line each, of the first of every kind.
        slowest: seconds of the slowest input.
        largest: bytes by which one input made the process grow.
    """

    name: str
    outcomes: Counter[str] = field(default_factory=Counter)
    problems: dict[str, str] = field(default_factory=dict)
    slowest: float = 0.0
    largest: int = 0

    @property
    def passed(self) -> bool:
        """Whether nothing escaped, crashed, hung, or took too much."""
        return not self.problems


def fuzz(name: str, count: int, work: Path, seed: int = 0) -> Found:
    """Give a reader what once was found, and ``count`` damaged inputs: the same for a seed."""
    found = Found(name)
    start, end = 0, known.count(name) + count
    while start < end:
        start = _run(name, seed, start, count, work, found)
    return found


def _run(name: str, seed: int, start: int, count: int, work: Path, found: Found) -> int:
    """One process, until it ends or dies; returns the number of the next input."""
    command = [sys.executable, "-m", "tests.torture.worker", name, *map(str, (seed, start, count))]
    process = subprocess.Popen(
        [*command, str(work)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_pump, args=(process.stdout, lines), daemon=True).start()
    begun, done = None, start
    try:
        while True:
            line = lines.get(timeout=HANG if begun is not None else 300)
            if line is None:
                break
            said = json.loads(line)
            if "begin" in said:
                begun = said["begin"]
                continue
            begun, done = None, said["i"] + 1
            _note(found, said)
    except queue.Empty:
        process.kill()
        found.outcomes["hung"] += 1
        found.problems.setdefault("hung", f"input {begun} of seed {seed} never ended")
        return (begun if begun is not None else done) + 1
    code = process.wait()
    if code:
        if begun is None:
            raise RuntimeError(f"{name}: the worker could not begin (exit code {code})")
        found.outcomes["crashed"] += 1
        found.problems.setdefault(
            f"crash {code}", f"input {begun} of seed {seed}: exit code {code}"
        )
        return begun + 1
    return known.count(name) + count


def _pump(stream: object, lines: queue.Queue[str | None]) -> None:
    for line in stream:  # type: ignore[attr-defined]
        lines.put(line)
    lines.put(None)


def _note(found: Found, said: dict[str, object]) -> None:
    outcome, error, i = str(said["outcome"]), str(said["error"]), said["i"]
    found.outcomes[outcome] += 1
    found.slowest = max(found.slowest, float(str(said["seconds"])))
    found.largest = max(found.largest, int(str(said["grown"])))
    if outcome == "escaped":
        kind = error.partition(":")[0] + error.rpartition("(")[2]
        found.problems.setdefault(kind, f"input {i}: {error}")
    if float(str(said["seconds"])) > SLOW:
        found.problems.setdefault("slow", f"input {i} took {said['seconds']:.1f} s")
    if int(str(said["grown"])) > LARGE:
        found.problems.setdefault("large", f"input {i} took {int(str(said['grown'])) >> 20} MiB")
