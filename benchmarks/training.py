"""A training step beside transformers' ClapModel, and how quickly the data loads.

    python benchmarks/training.py OUT.json [--device cuda --amp off,bf16 --batch 64]

One architecture (HTSAT-tiny and RoBERTa-base, the shape of laion/clap-htsat-unfused) with the same
generated weights in both, whose losses must agree in float32 before anything is timed. A step is
forward, symmetric cross-entropy, backward, clipping and AdamW. open_clip's releases (3.3.0) hold no
CLAP, so it cannot be a candidate. Each candidate has a process of its own, ours with freed memory
kept as ``python -m train`` does; they take turns of several steps, since in a run one step follows
the other, and behind another model's its weights would have gone cold. Loading is measured with
nothing beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.generated.checkpoints import clap_model  # noqa: E402 - it need not be installed
from benchmarks.step import AMP, TOKENS, Kind, Step  # noqa: E402
from clap_export.bench.gpu import Meter  # noqa: E402
from clap_export.bench.machine import machine  # noqa: E402
from clap_export.bench.process import Process  # noqa: E402
from clap_export.bench.timing import latency  # noqa: E402
from runtime import schema  # noqa: E402
from runtime.cores import usable_cores  # noqa: E402
from runtime.files import writing  # noqa: E402
from train.config.contrastive import load as read_recipe  # noqa: E402
from train.config.data import ListingConfig  # noqa: E402
from train.data.throughput import measure  # noqa: E402

OURS, THEIRS = "ours, waveforms in", "transformers, spectrograms in"
SAME_LOSS = 1e-4
ROUNDS = 3
CLIPS = 256  # of 5 s at 44.1 kHz, for the loading


def steps(given: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Times of a step in each type, and what it computes."""
    clap_model(folder, fused=False)
    known: dict[str, tuple[Kind, bool]] = {
        OURS: ("ours", given.device == "cpu"),
        THEIRS: ("transformers", False),
    }
    if given.device == "cpu":
        known[f"{THEIRS}, freed memory kept"] = ("transformers", True)
    with ExitStack() as stack:
        found = {
            name: stack.enter_context(Process(Step, kind, folder, given.batch, given.device, kept))
            for name, (kind, kept) in known.items()
        }
        losses = [process.ask("loss") for process in found.values()]
        if max(losses) - min(losses) > SAME_LOSS:
            raise SystemExit(f"the losses differ, so the steps do not compare: {losses}")
        flop = found[OURS].ask("flop")
        shape = {
            "architecture": "HTSAT-tiny, RoBERTa-base", "batch": given.batch, "window_seconds": 10,
            "tokens": TOKENS, "losses": losses, "gflop": flop / 1e9,
        }  # fmt: skip
        return [{**shape, "amp": amp, **timed(given, amp, found, flop)} for amp in given.amp]


def timed(
    given: argparse.Namespace, amp: str, processes: dict[str, Process], flop: int
) -> dict[str, Any]:
    """Times of a step in one type."""
    times: dict[str, list[float]] = {name: [] for name in processes}
    for process in processes.values():
        process.ask("begin", amp)
    for _ in range(ROUNDS):
        for name, process in processes.items():
            times[name] += process.ask("steps", -(-given.runs // ROUNDS), 2)
    tflops = processes[OURS].ask("matmul_tflops", amp)
    found = {
        name: {
            **_latency(given, each),
            "matmul_share": flop / float(np.median(each)) / 1e12 / tflops,
        }
        for name, each in times.items()
    }
    if amp == given.amp[0]:  # it knows no types
        each = processes[THEIRS].ask("features", given.runs)
        found["transformers' feature extractor, one core"] = _latency(given, each)
    return {"matmul_tflops": tflops, "candidates": found}


def _latency(given: argparse.Namespace, times: list[float]) -> dict[str, Any]:
    per_second = given.batch / float(np.median(times))
    return {**schema.to_plain(latency(times)), "samples_per_second": per_second}


def loading(folder: Path, seconds: float) -> list[dict[str, Any]]:
    """Windows a second of clap-mini's recipe, of made clips, in memory and decoded when drawn."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    for i in range(CLIPS):
        (folder / f"class{i % 8}").mkdir(exist_ok=True)
        sound = (0.1 * rng.standard_normal(5 * 44_100)).astype(np.float32)
        soundfile.write(folder / f"class{i % 8}" / f"{i}.flac", sound, 44_100)
    recipe = read_recipe(ROOT / "train" / "recipes" / "clap-mini.toml")
    config = replace(recipe, listings=(ListingConfig(str(folder), kind="folders"),))
    cores = usable_cores()
    return [
        schema.to_plain(one)
        for streamed in (False, True)
        for one in measure(config, cores, seconds, streamed)
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--amp", default="off,bf16", type=_types, help="of off and bf16")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each loading")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as work:
        found = {
            "machine": _machine(given.device),
            "loading": loading(Path(work) / "clips", given.seconds),
            "steps": steps(given, Path(work) / "checkpoint"),
        }
    with writing(given.out) as part:
        part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _types(text: str) -> list[str]:
    """Names of types; argparse makes a sentence of what is not one."""
    names = text.split(",")
    if not set(names) <= AMP.keys():
        raise argparse.ArgumentTypeError(f"{text}: choose from {', '.join(AMP)}")
    return names


def _machine(device: str) -> dict[str, Any]:
    meter = Meter() if device == "cuda" else None
    return schema.to_plain(machine(meter.gpu() if meter is not None else None))


if __name__ == "__main__":
    main()
