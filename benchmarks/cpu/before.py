"""One recording from file to scores by this checkout, beside an earlier one.

    python benchmarks/cpu/before.py --before CHECKOUT [--isa AVX2] [--write] NAME=EARLIER,NOW...

EARLIER and NOW are bundles of one model, as each checkout exports it; a provider may stand behind,
as in ``clap-mini=old@cpu,new@openvino``. Each run is a process of its own, and they take turns.
``--isa`` keeps OpenVINO's kernels to older instructions; ONNX Runtime's have no such switch.
Adds its cases to before.json beside this file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.cpu import figures  # noqa: E402 - run as a script
from clap_export.sounds.catalogue import write_demo_sounds  # noqa: E402

RESULTS = Path(__file__).with_name("before.json")

PREDICT = """
import sys, time
from runtime import Classifier
bundle, provider, file, runs = *sys.argv[1:4], int(sys.argv[4])
with Classifier(bundle, [f"sound {i}" for i in range(50)], providers=[provider]) as made:
    for i in range(runs + 5):
        start = time.perf_counter()
        made.predict(file)
        if i >= 5:
            print(1000 * (time.perf_counter() - start))
"""


def milliseconds(code: Path, bundle: str, isa: str | None, file: Path, runs: int) -> list[float]:
    """Of each run of one process."""
    folder, _, provider = bundle.partition("@")
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, Path(folder).resolve(), provider or "cpu", file, str(runs)],
        cwd=file.parent,  # the folder it is started in comes first in its path
        env={
            **os.environ, "PYTHONPATH": str(code), "CLAP_CACHE": "",
            **({"ONEDNN_MAX_CPU_ISA": isa} if isa else {}),
        },
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [float(line) for line in done.stdout.split()]


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--before", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--isa", help="Of OpenVINO's kernels, as in ONEDNN_MAX_CPU_ISA.")
@click.option("--rounds", default=7, show_default=True)
@click.option("--runs", default=15, show_default=True, help="In each process.")
@click.option("--write", is_flag=True, help="Keep the figures in before.json.")
def main(
    models: tuple[str, ...], before: Path, isa: str | None, rounds: int, runs: int, write: bool
) -> None:
    """Measure models, each given as NAME=EARLIER,NOW."""
    cases: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        file = write_demo_sounds(Path(folder), 5.0, 44_100)[0]
        for name, bundles in (one.split("=", 1) for one in models):
            earlier, now = bundles.split(",")
            both = {"before": (before.resolve(), earlier), "this": (ROOT, now)}
            taken: dict[str, list[float]] = {code: [] for code in both}
            for _ in range(rounds):
                for code, (checkout, bundle) in both.items():
                    taken[code] += milliseconds(checkout, bundle, isa, file, runs)
            first = median(taken["before"])
            for code, found in taken.items():
                cases.append({
                    "model": name, "code": code, "isa": isa,
                    "provider": both[code][1].partition("@")[2] or "cpu",
                    "median_ms": round(median(found), 2),
                    "p90_ms": round(float(np.percentile(found, 90)), 2),
                    "of_before": round(median(found) / first, 3),
                })  # fmt: skip
                click.echo(json.dumps(cases[-1]))
    if write:
        kept = json.loads(RESULTS.read_text(encoding="utf-8"))["cases"] if RESULTS.exists() else []
        figures.keep(RESULTS, cases=kept + cases)


if __name__ == "__main__":
    main()
