"""Faults of the disk, and signals, at every step of every writer.

The parent loads everything once, with ``faults.c`` in front of the C library, and forks a child for
each fault: the nth write, rename, fsync, open, link or mkdir in the writer's folder fails, or the
process is killed there; or it gets a signal at some moment. Afterwards what was there before is
whole, or what was to be written is; an error was a ClapError; nothing is left behind, by a killed
process nothing that its next run does not remove.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from clap_export.command import signals
from runtime.errors import ClapError
from tests.places import ROOT
from tests.torture.writers import Writer

SOURCE = Path(__file__).with_name("faults.c")
# HALF of faults.c: the disk gets full in the middle of a write.
ERRORS = {
    "ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EACCES": errno.EACCES, "half": -1, "SIGKILL": 0,
}  # fmt: skip
SIGNALS = (signal.SIGKILL, signal.SIGTERM)
MOMENTS = 1 / 3  # of the faults come at a moment, and not at a step


@dataclass
class Injected:
    """What happened to a writer: number of faults, and what must not be.

    Attributes:
        steps: of an undisturbed run, each of which can fail.
        faults: that were injected, at steps and at moments.
        old: times that what was there before was kept.
        new: times that what was to be written is there.
    """

    name: str
    faults: int = 0
    steps: int = 0
    old: int = 0
    new: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Fault:
    """What is done to a writer: step ``nth`` fails with ``code``, or a signal comes."""

    title: str
    nth: int = -1
    code: int = 0
    signal: signal.Signals | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Ended:
    """How a writer ended.

    Attributes:
        said: ``steps``; ``error``, the sentence of a ClapError; ``escaped``, any other exception;
            ``asked``, whether it was asked to end. Empty for one that was killed.
    """

    killed: bool
    code: int
    said: dict[str, Any]

    @property
    def well(self) -> bool:
        """Whether it did what it was to do."""
        return not self.code and bool(self.said) and not self.said.keys() & {"error", "escaped"}


class Disturbed:
    """One writer, run again and again in children of a process that has the shim."""

    def __init__(self, name: str, writer: Writer, work: Path) -> None:
        self.found = Injected(name)
        self._name, self._writer, self._work = name, writer, work
        self._shim = ctypes.CDLL(os.environ["LD_PRELOAD"])
        self._shim.fault_arm.argtypes = (ctypes.c_char_p, ctypes.c_long, ctypes.c_int)
        self._shim.fault_seen.restype = ctypes.c_long
        folder = self._fresh("count")
        began = time.perf_counter()
        ended = self._attempt(folder, Fault("none"))
        self._seconds = time.perf_counter() - began
        assert ended.well, f"{name} ended with {ended}"
        self.found.steps, self._whole = ended.said["steps"], names(folder)

    def faults(self, most: int) -> list[Fault]:
        """Up to ``most``: steps spread over all, and as many moments as are left."""
        steps = [
            Fault(f"{kind} at step {nth}", nth, code)
            for nth in range(1, self.found.steps + 1)
            for kind, code in ERRORS.items()
        ]
        chosen = steps[:: max(1, -(-len(steps) // max(1, round(most * (1 - MOMENTS)))))]
        rng = random.Random(self._name)
        for i in range(most - len(chosen)):
            after, which = rng.uniform(0, 1.1) * self._seconds, SIGNALS[i % len(SIGNALS)]
            title = f"{which.name} after {1000 * after:.1f} ms"
            chosen.append(Fault(title, signal=which, seconds=after))
        return chosen

    def inject(self, fault: Fault) -> None:
        """Do it to a fresh folder, and look at what is there afterwards."""
        folder = self._fresh("fault")
        before = names(folder)
        ended = self._attempt(folder, fault)
        self.found.faults += 1
        if "escaped" in ended.said and not ended.said["asked"]:
            self._problem(fault, ended.said["escaped"])
        try:
            age = self._writer.check(folder)
        except Exception as error:
            self._problem(fault, f"torn: {error}")
            return
        setattr(self.found, age, getattr(self.found, age) + 1)
        if ended.well and age != "new":
            self._problem(fault, "said to be done, and is not")
        left = names(folder) - before - self._writer.stays
        if not ended.killed and age == "old" and left:
            self._problem(fault, f"left {sorted(left)}")
        if age == "new" and not self._writer.again:
            return
        ended = self._attempt(folder, Fault("none"))
        if not ended.well or self._writer.check(folder) != "new":
            self._problem(fault, f"the next run ended with {ended}")
        if names(folder) != self._whole:
            self._problem(fault, f"the next run left {sorted(names(folder) ^ self._whole)}")

    def _problem(self, fault: Fault, said: str) -> None:
        self.found.problems.append(f"{self._name}: {fault.title}: {said}")

    def _fresh(self, label: str) -> Path:
        folder = self._work / label
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._writer.before(folder)
        return folder

    def _attempt(self, folder: Path, fault: Fault) -> Ended:
        reader, pipe = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            said = self._write(folder, fault, pipe)
            os.write(pipe, json.dumps(said).encode())
            os._exit(0)
        os.close(pipe)
        with os.fdopen(reader, "rb") as answers:
            if answers.read(1) and fault.signal is not None:  # it has begun
                time.sleep(fault.seconds)
                os.kill(child, fault.signal)
            answer = answers.read()
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        return Ended(killed, status, json.loads(answer) if answer else {})

    def _write(self, folder: Path, fault: Fault, pipe: int) -> dict[str, Any]:
        """What the child does."""
        said: dict[str, Any] = {}
        asked: list[int] = []
        try:
            with signals.raising(asked):
                os.write(pipe, b" ")
                self._shim.fault_arm(str(folder).encode(), fault.nth, fault.code)
                self._writer.write(folder)
        except ClapError as error:
            said["error"] = str(error)
        except BaseException as error:
            said["escaped"] = f"{type(error).__name__}: {error}"
        said["steps"], said["asked"] = self._shim.fault_seen(), bool(asked)
        self._shim.fault_arm(b"", -1, 0)
        return said


def names(folder: Path) -> set[str]:
    """Of all files and folders in it, at any depth."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def inject(name: str, writer: Writer, work: Path, most: int) -> Injected:
    """Disturb a writer ``most`` times, or its share of that."""
    disturbed = Disturbed(name, writer, work)
    for fault in disturbed.faults(round(most * writer.share)):
        disturbed.inject(fault)
    return disturbed.found


def run(
    most: int, work: Path, only: Sequence[str] = (), module: str = "tests.torture.writers"
) -> list[Injected]:
    """Disturb writers, in a process that has the shim.

    Args:
        most: faults for each.
        work: folder to work in.
        only: names of writers; default all.
        module: whose ``writers`` are taken.
    """
    work.mkdir(parents=True, exist_ok=True)
    shim = work / "faults.so"
    build = ["cc", "-shared", "-fPIC", "-O1", "-o", str(shim), str(SOURCE), "-ldl"]
    subprocess.run(build, check=True)
    arguments = json.dumps([most, str(work), list(only), module])
    done = subprocess.run(
        [sys.executable, "-m", "tests.torture.faults", arguments],
        cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "LD_PRELOAD": str(shim)}, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return [Injected(**item) for item in json.loads(done.stdout.splitlines()[-1])]


def main(most: int, work: str, only: list[str], module: str) -> None:
    """What the process with the shim does."""
    writers: dict[str, Writer] = import_module(module).writers(Path(work) / "made", only)
    found = [inject(name, each, Path(work) / "run", most) for name, each in writers.items()]
    print(json.dumps([vars(item) for item in found]))


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
