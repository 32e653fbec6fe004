"""Faults of the disk, and kills, at every step of every writer.

The parent loads everything once, with ``faults.c`` in front of the C library, and forks a child for
each fault: the nth write, rename, fsync, open, link or mkdir in the writer's folder fails, or the
process is killed there. Afterwards what was there before is whole, or what was to be written is;
an error was a ClapError; nothing is left behind after the next run.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.errors import ClapError
from tests.places import ROOT

SOURCE = Path(__file__).with_name("faults.c")
ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EACCES": errno.EACCES, "SIGKILL": 0}


@dataclass(frozen=True)
class Writer:
    """Something that writes into a folder.

    Attributes:
        before: makes the folder as it is before.
        write: what is disturbed.
        check: raises when what lies in the folder is not whole; says whether it is ``old`` or
            ``new``.
        share: of the faults asked for; an export takes seconds, so that it gets fewer.
    """

    before: Callable[[Path], None]
    write: Callable[[Path], None]
    check: Callable[[Path], str]
    share: float = 1.0


@dataclass
class Injected:
    """What happened to a writer: number of faults, and what must not be."""

    name: str
    faults: int = 0
    steps: int = 0
    old: int = 0
    new: int = 0
    problems: list[str] = field(default_factory=list)


def writers() -> dict[str, Writer]:
    """Every way in which the project writes what must be whole."""
    import numpy as np
    import torch

    from clap_export.checkpoints import load, native
    from clap_export.export.pack import write_bundle
    from runtime import LabelBank
    from runtime.bundle import Bundle
    from tests import tiny

    torch.set_num_threads(1)
    rows = np.eye(4, 8, dtype=np.float32)
    banks = {
        age: LabelBank(tuple(f"{age} {i}" for i in range(4)), (), rows, "space")
        for age in ("old", "new")
    }
    models = {age: tiny.model(tiny.config(), seed) for seed, age in enumerate(("old", "new"))}
    words = tiny.tokenizer().to_str()
    made = tiny.checkpoint()

    def bank_age(folder: Path) -> str:
        return LabelBank.load(folder / "bank.npz").names[0].split()[0]

    def save_model(age: str, name: str) -> Callable[[Path], None]:
        return lambda folder: native.save(folder / name, models[age], words)

    def model_age(name: str) -> Callable[[Path], str]:
        def age(folder: Path) -> str:
            state = load(folder / name).model.state_dict()
            for age, model in models.items():
                if all(torch.equal(v, state[k]) for k, v in model.state_dict().items()):
                    return age
            raise AssertionError("neither the old weights nor the new ones")

        return age

    def bundle_age(folder: Path) -> str:
        if not (folder / "bundle").exists():
            return "old"
        Bundle(folder / "bundle")
        return "new"

    return {
        "label bank": Writer(
            lambda folder: banks["old"].save(folder / "bank.npz"),
            lambda folder: banks["new"].save(folder / "bank.npz", overwrite=True),
            bank_age,
        ),
        "checkpoint, safetensors": Writer(
            save_model("old", "m.safetensors"), save_model("new", "m.safetensors"),
            model_age("m.safetensors"),
        ),
        "checkpoint, pt": Writer(
            save_model("old", "m.pt"), save_model("new", "m.pt"), model_age("m.pt")
        ),
        "bundle": Writer(
            lambda folder: None, lambda folder: (write_bundle(made, folder / "bundle"), None)[1],
            bundle_age, share=0.25,
        ),
    }  # fmt: skip


def inject(name: str, writer: Writer, work: Path, most: int) -> Injected:
    """Disturb a writer at up to ``most`` places, spread over all of its steps."""
    shim = ctypes.CDLL(os.environ["LD_PRELOAD"])
    shim.fault_arm.argtypes = (ctypes.c_char_p, ctypes.c_long, ctypes.c_int)
    shim.fault_seen.restype = ctypes.c_long
    found = Injected(name)

    def attempt(folder: Path, nth: int, code: int) -> tuple[int, dict[str, Any]]:
        reader, pipe = os.pipe()
        child = os.fork()
        if child == 0:
            said: dict[str, Any] = {"error": None}
            shim.fault_arm(str(folder).encode(), nth, code)
            try:
                writer.write(folder)
            except ClapError as error:
                said["error"] = str(error)
            except BaseException as error:
                said["escaped"] = f"{type(error).__name__}: {error}"
            said["steps"] = shim.fault_seen()
            shim.fault_arm(b"", -1, 0)
            os.write(pipe, json.dumps(said).encode())
            os._exit(0)
        os.close(pipe)
        with os.fdopen(reader, "rb") as answers:
            answer = answers.read()
        _, status = os.waitpid(child, 0)
        return status, json.loads(answer) if answer else {}

    def fresh(label: str) -> Path:
        folder = work / label
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        writer.before(folder)
        return folder

    status, said = attempt(fresh("count"), -1, 0)
    assert status == 0, f"{name}: ended with {status}"
    assert said.get("error") is None, said
    assert "escaped" not in said, said
    found.steps = said["steps"]
    places = [(nth, kind) for nth in range(1, found.steps + 1) for kind in ERRORS]
    step = max(1, round(len(places) / (most * writer.share)))
    for nth, kind in places[::step]:
        folder = fresh("fault")
        before = {path.name for path in folder.iterdir()}
        status, said = attempt(folder, nth, ERRORS[kind])
        found.faults += 1
        where = f"{name}: {kind} at step {nth} of {found.steps}"
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if "escaped" in said:
            found.problems.append(f"{where}: {said['escaped']}")
        try:
            age = writer.check(folder)
        except Exception as error:
            found.problems.append(f"{where}: torn: {error}")
            continue
        setattr(found, age, getattr(found, age) + 1)
        if not killed and said and said.get("error") is None and age != "new":
            found.problems.append(f"{where}: said to be done, and is not")
        left = {path.name for path in folder.iterdir()} - before
        if not killed and age == "old" and left:
            found.problems.append(f"{where}: left {sorted(left)}")
        if age == "new" and name == "bundle":
            continue
        status, said = attempt(folder, -1, 0)
        if status or said.get("error") or "escaped" in said or writer.check(folder) != "new":
            found.problems.append(f"{where}: the next run ended with {said}")
        left = [p.name for p in folder.iterdir() if p.name.endswith(".part")]
        if left:
            found.problems.append(f"{where}: the next run left {left}")
    return found


def run(most: int, work: Path) -> list[Injected]:
    """Disturb every writer, in a process that has the shim."""
    shim = work / "faults.so"
    build = ["cc", "-shared", "-fPIC", "-O1", "-o", str(shim), str(SOURCE), "-ldl"]
    subprocess.run(build, check=True)
    code = f"from tests.torture import faults; faults.serve({most}, {str(work)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "LD_PRELOAD": str(shim)}, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return [Injected(**item) for item in json.loads(done.stdout.splitlines()[-1])]


def serve(most: int, work: str) -> None:
    """What the process with the shim does."""
    found = [inject(name, w, Path(work) / "run", most) for name, w in writers().items()]
    print(json.dumps([vars(item) for item in found]))
