"""From the start of a process to its first result, and where the time goes.

    python benchmarks/cpu/start.py [--before CHECKOUT] [--write] NAME=BUNDLE...

Each run is a process of its own, and the kinds of start take turns: with labels as names, which the
text encoder embeds, or as a bank; with what was kept by a start before (``CLAP_CACHE``) or without;
and, with a bank, also with files that the system was asked to forget. The bank is made on the way.
``--before`` measures another checkout beside this one. Writes start.json beside this file. Two
bundles take two minutes, on a quiet machine.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import click

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.cpu import figures  # noqa: E402 - run as a script
from clap_export.sounds.catalogue import SOUNDS, write_demo_sounds  # noqa: E402

RESULTS = Path(__file__).with_name("start.json")

FIRST_RESULT = """
import sys, time
from runtime import Classifier
with Classifier(sys.argv[1], sys.argv[2]) as made:
    made.predict(sys.argv[3])
    print(time.monotonic(), time.process_time())
"""

# One after the other, what a start does partly side by side.
STEPS = """
import json, sys, time
bundle, labels, recording, start = *sys.argv[1:4], float(sys.argv[4])
steps, last = {}, start
def step(name):
    global last
    now = time.monotonic()
    steps[name], last = 1000 * (now - last), now
step("interpreter")
import numpy; step("import numpy")
import runtime.classifier; step("import runtime")
from runtime.backends import open_backend, quiet
quiet.onnxruntime(); step("import onnxruntime")
import soundfile, soxr; step("import soundfile, soxr")
from runtime.bundle import Bundle
from runtime.content import Content
opened = Bundle(bundle, check_hashes=False); step("manifest")
def graph(name, one):
    content = Content.read(opened.path(one.file)); step(f"{name}: read")
    content.sha256(); step(f"{name}: hash")
    from runtime import onnx_file
    onnx_file.check(content.data, content.name); step(f"{name}: look through")
    open_backend(content); step(f"{name}: session")
graph("audio graph", opened.manifest.audio_graph)
from runtime.labels import LabelBank, read_labels
if labels.endswith(".npz"):
    LabelBank.load(labels); step("bank")
else:
    import tokenizers; step("import tokenizers")
    graph("text graph", opened.manifest.text_graph)
    from runtime.tokenizer import TextTokenizer
    spec = opened.manifest.text
    TextTokenizer(opened.path(spec.tokenizer), spec); step("tokenizer")
    encoder = runtime.Encoder(opened); encoder.tokenizer; last = time.monotonic()
    LabelBank.build(encoder, read_labels(labels)); step("embedding of the labels")
classifier = runtime.Classifier(bundle, labels); last = time.monotonic()
classifier.predict(recording); step("first recording")
print(json.dumps(steps))
"""


@dataclass(frozen=True)
class Kind:
    """One way to start.

    Attributes:
        model: its name.
        labels: ``names`` or ``bank``.
        code: ``this`` checkout or the one ``before``.
        kept: with what an earlier start kept.
        cold: the bundle's and the cache's files are not in the system's memory.
    """

    model: str
    labels: str
    code: str = "this"
    kept: bool = False
    cold: bool = False


@dataclass(frozen=True)
class Bench:
    """Where things are.

    Attributes:
        bundles: by name.
        checkouts: by code.
        folder: for the recording, the labels, banks, the cache and Python's bytecode.
    """

    bundles: dict[str, Path]
    checkouts: dict[str, Path]
    folder: Path

    def labels(self, kind: Kind) -> Path:
        """Names, or the bank of a model."""
        return self.folder / ("labels.txt" if kind.labels == "names" else f"{kind.model}.npz")

    def run(self, kind: Kind, code: str) -> str:
        """What a start prints."""
        bundle, cache = self.bundles[kind.model], self.folder / "cache"
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment |= {
            "PYTHONPATH": str(self.checkouts[kind.code]),
            "PYTHONPYCACHEPREFIX": str(self.folder / "bytecode"),
            "CLAP_CACHE": str(cache) if kind.kept else "",
        }
        command = [sys.executable, "-c", code, bundle, self.labels(kind), self.folder / "a.wav"]
        if kind.cold:
            forget(bundle, cache, self.labels(kind))
        command.append(str(time.monotonic()))
        done = subprocess.run(
            command, env=environment, cwd=self.folder, capture_output=True, text=True, check=True
        )  # elsewhere: the folder it is started in comes first in its path
        return f"{command[-1]} {done.stdout}" if code is FIRST_RESULT else done.stdout

    def first(self, kind: Kind) -> tuple[float, float]:
        """Milliseconds to the first result, and those of the processor's work."""
        started, ended, worked = map(float, self.run(kind, FIRST_RESULT).split())
        return 1000 * (ended - started), 1000 * worked


def forget(*places: Path) -> None:
    """Ask the system to drop what it holds of files; clean pages that nobody maps are dropped."""
    for place in places:
        for path in [place, *place.rglob("*")]:
            if path.is_file():
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(descriptor)


def kinds(models: list[str], codes: list[str]) -> Iterator[Kind]:
    """All of them."""
    for model in models:
        for labels in ("names", "bank"):
            for code in codes:
                for cold in (False, True) if labels == "bank" else (False,):
                    kind = Kind(model, labels, code, cold=cold)
                    yield kind
                    if code == "this":
                        yield replace(kind, kept=True)


def prepared(folder: Path, bundles: dict[str, Path]) -> None:
    """The recording, names, and banks."""
    from runtime import Encoder, LabelBank

    write_demo_sounds(folder / "sounds", 5.0, 44_100)[0].rename(folder / "a.wav")
    (folder / "labels.txt").write_text("\n".join(SOUNDS) + "\n", encoding="utf-8")
    for name, bundle in bundles.items():
        with Encoder(bundle) as encoder:
            LabelBank.build(encoder, list(SOUNDS)).save(folder / f"{name}.npz")


@click.command()
@click.argument("bundles", nargs=-1, required=True)
@click.option("--before", type=click.Path(path_type=Path, exists=True), help="A checkout.")
@click.option("--runs", default=5, show_default=True, help="Of each kind.")
@click.option("--write", is_flag=True, help="Keep the figures in start.json.")
def main(bundles: tuple[str, ...], before: Path | None, runs: int, write: bool) -> None:
    """Measure starts of bundles, each given as NAME=FOLDER."""
    named = {name: Path(path).resolve() for name, path in (o.split("=", 1) for o in bundles)}
    checkouts = {"this": ROOT, **({"before": before.resolve()} if before else {})}
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(named, checkouts, Path(name))
        prepared(bench.folder, named)
        every = list(kinds(list(named), list(checkouts)))
        for kind in every:
            bench.first(kind)  # makes bytecode and what is kept
        rounds = []
        for number in range(runs):
            # In any order: what runs before it leaves the machine warmer or colder.
            mixed = random.Random(number).sample(every, len(every))
            rounds.append({kind: bench.first(kind) for kind in mixed})
            click.echo(f"round {number + 1} of {runs}", err=True)
        cases: list[dict[str, Any]] = []
        for kind in every:
            walls, works = zip(*(one[kind] for one in rounds), strict=True)
            cases.append({
                **asdict(kind), "median_ms": round(median(walls), 1),
                "least_ms": round(min(walls), 1), "work_ms": round(min(works), 1),
            })  # fmt: skip
            click.echo(json.dumps(cases[-1]))
        steps = {}
        for model in named:
            found = [json.loads(bench.run(Kind(model, "names"), STEPS)) for _ in range(runs)]
            steps[model] = {step: round(min(one[step] for one in found), 1) for step in found[0]}
        click.echo(json.dumps(steps, indent=1))
    if write:
        figures.keep(RESULTS, runs=runs, cases=cases, steps_ms=steps)


if __name__ == "__main__":
    main()
