"""Whole training runs on a device: what the loop's options learn there, beside plain float32.

Every run goes on from clap-mini, on sounds made by code, and has nothing random in it but the order
of the clips, which is the same in all. So their losses must be the same, to what a type can hold.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.generated.checkpoints import without_dropout
from benchmarks.gpu.command import ROOT, ran
from clap_export.checkpoints import load, native
from clap_export.model.clap import ClapModel
from clap_export.sounds.catalogue import SOUNDS
from clap_export.sounds.synth import write_wav

RATE = 24_000
SPEEDS = (0.8, 0.93, 1.08, 1.25)  # a clip each


@dataclass(frozen=True)
class Case:
    """One run.

    Attributes:
        loop: its options.
        within: largest difference of a loss to that of ``plain``, relative; None where the run
            lets BatchNorm learn its statistics: the losses differ then, and must only fall.
            TF32 convolutions have 10 bits; fp16 skips steps until it has found its scale.
        device: if not the one that is measured.
        processes: by torchrun, one for each GPU.
    """

    loop: dict[str, Any]
    within: float | None
    device: str | None = None
    processes: bool = False


PLAIN = "plain"
CASES = {
    PLAIN: Case({}, 0.0),
    "on the CPU": Case({}, 5e-3, device="cpu"),
    "recompute": Case({"recompute": True}, 1e-3),
    "accumulate": Case({"accumulate": 4}, 1e-3),
    "compile": Case({"compile": True}, 1e-3),
    "torchrun": Case({}, 1e-3, processes=True),
    "bf16": Case({"amp": "bf16"}, 0.03),
    "fp16": Case({"amp": "fp16"}, 0.1),
    "compile, bf16": Case({"compile": True, "amp": "bf16"}, 0.03),
    "BatchNorm learns, bf16": Case({"amp": "bf16", "freeze_statistics": False}, None),
    "BatchNorm learns, torchrun": Case({"freeze_statistics": False}, None, processes=True),
    "BatchNorm learns, compile, bf16": Case(
        {"compile": True, "amp": "bf16", "freeze_statistics": False}, None
    ),
}


def measure(work: Path, device: str, batch: int, steps: int) -> dict[str, Any]:
    """Every case's losses, rates and whether they are as they should be.

    Args:
        work: a folder for clips and runs; emptied of neither.
        device: ``cuda`` or ``cpu``.
        batch: clips of a step, a multiple of the number of GPUs.
        steps: of an epoch; there are two.
    """
    work.mkdir(parents=True, exist_ok=True)
    write_clips(work / "clips")
    start = work / "start.safetensors"
    found = load(ROOT / "models" / "clap-mini.safetensors")
    model = ClapModel(without_dropout(found.model.config))
    model.load_state_dict(found.model.state_dict())
    native.save(start, model.eval(), found.tokenizer)
    results: dict[str, Any] = {}
    for name, case in CASES.items():
        if device == "cpu" and case.loop.get("amp") == "fp16":
            continue  # a hundred times slower there
        folder = work / f"run-{len(results)}"
        text = config(folder, start, work / "clips", case, case.device or device, batch, steps)
        results[name] = run(case, folder, text, device)
        judge(case, results[name], results[PLAIN])
    return results


def write_clips(folder: Path) -> None:
    """Four versions of each sound of the demo, a folder for each sound."""
    for name, make in SOUNDS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i, speed in enumerate(SPEEDS):
            write_wav(folder / name / f"{i}.wav", make(round(RATE * speed), 5.0 / speed), RATE)


def config(
    out: Path, start: Path, clips: Path, case: Case, device: str, batch: int, steps: int
) -> str:
    """A run's TOML. Adam's eps keeps rounding from being magnified where gradients are nothing."""
    loop = {
        "epochs": 2, "steps_per_epoch": steps, "batch_size": batch, "learning_rate": 1e-3,
        "weight_decay": 0.0, "warmup_epochs": 0.5, "text_negatives": 4, "ema": 0.9, "eps": 1e-3,
        "validate_every": 2, "freeze_statistics": True, **case.loop,
    }  # fmt: skip
    whole = {
        "out": str(out), "seed": 1, "device": device, "init": str(start), "templates": ["{}"],
        "tasks": [], **{f"loop.{key}": value for key, value in loop.items()},
    }  # fmt: skip
    # Plain values look the same in TOML and JSON.
    lines = [f"{key} = {json.dumps(value)}" for key, value in whole.items()]
    lines += ["augment = {}", f'listings = [{{path = {json.dumps(str(clips))}, kind = "folders"}}]']
    return "\n".join(lines) + "\n"


def run(case: Case, folder: Path, text: str, device: str) -> dict[str, Any]:
    """One run in a process of its own: what its journal says, or why it failed."""
    path = folder.with_suffix(".toml")
    path.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "train", str(path)]
    gpus = max(1, torch.cuda.device_count()) if device == "cuda" else 1
    if case.processes:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(gpus)]
        command[1:2] = [*launcher, "-m"]
    done = ran(command)
    if not done["passed"]:
        return done
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return {
        "processes": gpus if case.processes else 1,
        "losses": [record["loss"] for record in records],
        **{name: records[-1][name] for name in ("step_seconds", "samples_per_second", "waiting")},
    }


def judge(case: Case, found: dict[str, Any], plain: dict[str, Any]) -> None:
    """Say whether a run's losses are finite, fall, and are those of the plain run."""
    if "losses" not in found:
        return
    losses = found["losses"]
    passed = all(map(math.isfinite, losses)) and losses[-1] < losses[0]
    if case.within is not None and "losses" in plain:
        pairs = zip(losses, plain["losses"], strict=True)
        found["difference"] = max(abs(one / other - 1) for one, other in pairs)
        passed &= found["difference"] <= case.within
    found["passed"] = passed
