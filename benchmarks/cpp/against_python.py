"""The C++ runtime beside Python's: size, first result, memory and speed.

    python benchmarks/cpp/against_python.py BUNDLE BANK WAV --programs build/cpp-release

Both run the same bundle, bank and recording on the same engine (OpenVINO, and ONNX Runtime if the
programs were built with it), with one thread, each in a process of its own, pinned to one core.
"First" is from the start of the process to the first prediction in its output; a "further" one is
the mean of the others. The medians of several runs are printed, as a table and as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ENGINES = {"openvino": "openvino", "onnxruntime": "cpu"}
PYTHON = """
import json, sys
import runtime
bundle, bank, provider, wav, times = sys.argv[1:]
with runtime.Classifier(bundle, bank, providers=(provider,), threads=1, top_k=3) as classifier:
    for _ in range(int(times)):
        print(json.dumps([p.label for p in classifier.predict(wav)]), flush=True)
"""


@dataclass(frozen=True)
class Measured:
    """One runtime on one engine.

    Attributes:
        first: seconds from the start of the process to its first prediction.
        further: seconds of each further prediction.
        memory: MiB of the process at most.
    """

    language: str
    engine: str
    first: float
    further: float
    memory: float


def measured(language: str, engine: str, command: list[str], count: int) -> Measured:
    """Run a program that prints a line for each of ``count`` predictions."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=_one_core)
    assert process.stdout is not None
    times = [time.perf_counter() - start for line in process.stdout if line]
    _, status, usage = os.wait4(process.pid, 0)
    if status or len(times) != count:
        raise SystemExit(f"{command[0]} ended with {status} after {len(times)} predictions.")
    further = (times[-1] - times[0]) / (count - 1)
    return Measured(language, engine, times[0], further, usage.ru_maxrss / 1024)


def _one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def median(runs: list[Measured]) -> Measured:
    """Of several runs of one kind."""
    first, further, memory = (
        statistics.median(getattr(run, name) for run in runs)
        for name in ("first", "further", "memory")
    )
    return Measured(runs[0].language, runs[0].engine, first, further, memory)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    for name in ("bundle", "bank", "wav"):
        parser.add_argument(name)
    parser.add_argument("--programs", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--count", type=int, default=20)
    asked = parser.parse_args()
    program = asked.programs / "clap-classify"
    found: list[Measured] = []
    for engine, provider in ENGINES.items():
        cpp = [str(program), asked.bundle, asked.bank, *[asked.wav] * asked.count, "--json"]
        cpp += ["--engine", engine, "--threads", "1"]
        python = [sys.executable, "-c", PYTHON, asked.bundle, asked.bank, provider, asked.wav]
        python.append(str(asked.count))
        tried = subprocess.run([*cpp[:4], *cpp[-5:]], check=False, capture_output=True, text=True)
        if "was asked for, but this library was built with" in tried.stderr:
            print(f"{engine}: the programs were built without it", file=sys.stderr)
            continue
        for language, command in (("C++", cpp), ("Python", python)):
            runs = [measured(language, engine, command, asked.count) for _ in range(asked.runs)]
            found.append(median(runs))
    print("| runtime | engine | first result | each further one | memory at most |")
    print("|---|---|---|---|---|")
    for one in found:
        print(
            f"| {one.language} | {one.engine} | {1000 * one.first:.0f} ms "
            f"| {1000 * one.further:.1f} ms | {one.memory:.0f} MiB |"
        )
    size = program.stat().st_size
    print(f"\n`clap-classify` has {size / 1e6:.2f} MB (engine and libraries apart).")
    print(json.dumps({"bytes": size, "measured": [asdict(one) for one in found]}))


if __name__ == "__main__":
    main()
