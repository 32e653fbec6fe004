"""Memory and time of recordings of a minute and of hours: python benchmarks/long.py BUNDLE.

The recordings are stereo at 48 kHz, 16 bit, of a minute of noise over and over; all of their
samples are decoded, mixed and resampled. Each measurement is a process of its own, and its memory
the most that the system saw (``ru_maxrss``).
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.page import put

REPORT = Path(__file__).with_name("long.json")
PAGE = Path(__file__).parents[1] / "docs" / "recordings.md"
RATE = 48_000
LABELS = "rain,dog barking,speech,siren,wind"
MANY = 10  # recordings for predict_many
MOST_GROWTH = 16.0  # MiB, from a minute to hours
PREDICT_MANY = """
import sys
from runtime import Classifier
bundle, path, labels, count = sys.argv[1:]
with Classifier(bundle, labels.split(",")) as classifier:
    for result in classifier.predict_many([path] * int(count)):
        assert result.error is None, result.error
"""


@contextmanager
def recording(minutes: int) -> Iterator[Path]:
    """A WAV of this length, for as long as it is needed."""
    rng = np.random.default_rng(1)
    minute = rng.integers(-8000, 8000, (60 * RATE, 2), dtype=np.int16)
    minute = (minute * np.linspace(0.1, 1, len(minute))[:, None]).astype(np.int16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{minutes}.rf64")
        with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16", format="RF64") as file:
            for _ in range(minutes):
                file.write(minute)
        yield path


def measured(command: list[str]) -> tuple[float, float]:
    """Most memory in MiB and seconds of a command, which must succeed."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return usage.ru_maxrss / 1024, time.perf_counter() - start


def kept(name: str, found: dict[str, dict[str, list[float]]]) -> None:
    """Write the figures down, here and as a table of the docs."""
    report = json.loads(REPORT.read_text()) if REPORT.exists() else {}
    report[name] = {"cases": found, "machine": platform.platform(), "cores": os.cpu_count()}
    REPORT.write_text(json.dumps(report, indent=2) + "\n")
    lines = ["| model | | length | most memory | time |", "|---|---|---|---|---|"]
    lines += [
        f"| {model} | {case} | {length} | {memory:.0f} MiB | {seconds:.0f} s |"
        for model, one in report.items()
        for case, lengths in one["cases"].items()
        for length, (memory, seconds) in lengths.items()
    ]
    put("long", "\n".join(lines), PAGE)


@click.command()
@click.argument("bundle", type=click.Path(exists=True, path_type=Path))
@click.option("--hours", type=click.IntRange(1), default=5, show_default=True)
@click.option("--minutes", type=click.IntRange(1), help="In place of --hours, for a quick look.")
@click.option("--write", is_flag=True, help="Keep the figures in long.json and docs/recordings.md.")
def main(bundle: Path, hours: int, minutes: int | None, write: bool) -> None:
    """Compare a minute with hours."""
    long = minutes or 60 * hours
    command = [sys.executable, "-m", "clap_export", "classify", str(bundle)]
    found: dict[str, dict[str, list[float]]] = {}
    for length in (1, long):
        with recording(length) as path:
            cases = {
                "classify": [*command, str(path), "--labels", LABELS],
                "classify --timeline": [*command, str(path), "--labels", LABELS, "--timeline",
                    "--json"],
                "listen": [sys.executable, "-m", "clap_export", "listen", str(bundle), "--labels",
                    LABELS, "--input", str(path), "--json"],
                f"predict_many of {MANY}": [sys.executable, "-c", PREDICT_MANY, str(bundle),
                    str(path), LABELS, str(MANY)],
            }  # fmt: skip
            for name, case in cases.items():
                memory, seconds = measured(case)
                found.setdefault(name, {})[f"{length} min"] = [round(memory, 1), round(seconds, 1)]
                click.echo(f"{name:22} {length:4} min  {memory:7.1f} MiB  {seconds:7.1f} s")
    worst = max(case[f"{long} min"][0] - case["1 min"][0] for case in found.values())
    click.echo(f"most growth: {worst:.1f} MiB, of {MOST_GROWTH:g} allowed")
    if write:
        kept(json.loads((bundle / "manifest.json").read_text())["name"], found)
    raise SystemExit(2 if worst > MOST_GROWTH else 0)


if __name__ == "__main__":
    main()
