"""What more cores give to many recordings: ``predict_many`` on one core, two, … all of them.

    python benchmarks/cpu/cores.py [--write] NAME=BUNDLE...

Each number of cores has a process of its own, bound to so many, and they take turns. A bundle in
bfloat16 is run on OpenVINO alone. Recordings last 5 s at 44.1 kHz, as WAV. Writes cores.json beside
this file; half a minute for each bundle and engine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.cpu import figures  # noqa: E402 - run as a script
from clap_export.sounds.catalogue import write_demo_sounds  # noqa: E402
from runtime.bundle import Bundle  # noqa: E402

RESULTS = Path(__file__).with_name("cores.json")
ENOUGH = 0.9  # of as many times the rate of one core as there are cores

RATE = """
import os, sys, time
os.sched_setaffinity(0, map(int, sys.argv[1].split(",")))
from itertools import cycle, islice
from runtime import Classifier
bundle, provider, seconds, *files = sys.argv[2:]
with Classifier(bundle, [f"sound {i}" for i in range(50)], providers=[provider]) as made:
    list(made.predict_many(files))  # opens what is used
    done, start = 0, time.perf_counter()
    for result in made.predict_many(cycle(files)):
        assert result.error is None
        done, now = done + 1, time.perf_counter()
        if now - start > float(seconds):
            break
print(done / (now - start))
"""


def rate(cores: list[int], bundle: Path, provider: str, seconds: float, files: list[str]) -> float:
    """Recordings a second."""
    command = [
        sys.executable, "-c", RATE, ",".join(map(str, cores)), str(bundle), provider,
        str(seconds), *files,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


@click.command()
@click.argument("bundles", nargs=-1, required=True)
@click.option("--provider", "providers", multiple=True, default=("cpu",), show_default=True)
@click.option("--seconds", default=2.0, show_default=True, help="Of each run.")
@click.option("--runs", default=3, show_default=True, help="The best of them counts.")
@click.option("--write", is_flag=True, help="Keep the figures in cores.json.")
def main(
    bundles: tuple[str, ...], providers: tuple[str, ...], seconds: float, runs: int, write: bool
) -> None:
    """Measure bundles, each given as NAME=FOLDER."""
    every = sorted(os.sched_getaffinity(0))
    cases: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        files = [str(path) for path in write_demo_sounds(Path(folder), 5.0, 44_100)]
        for name, bundle in (one.split("=", 1) for one in bundles):
            graph = Bundle(bundle).manifest.audio_graph
            for provider in ("openvino",) if graph.bfloat16 else providers:
                best = dict.fromkeys(range(1, len(every) + 1), 0.0)
                for _ in range(runs):
                    for count in best:
                        found = rate(every[:count], Path(bundle), provider, seconds, files)
                        best[count] = max(best[count], found)
                for count, found in best.items():
                    share = found / (count * best[1])
                    cases.append({
                        "model": name, "precision": graph.precision, "provider": provider,
                        "cores": count,
                        "per_second": round(found, 2), "of_so_many": round(share, 3),
                        "enough": share >= ENOUGH,
                    })  # fmt: skip
                    click.echo(json.dumps(cases[-1]))
    if write:
        figures.keep(RESULTS, cases=cases)


if __name__ == "__main__":
    main()
