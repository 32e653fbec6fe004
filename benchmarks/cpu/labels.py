"""How long many labels take: banks of 1,000 and 10,000 names, and 527 classes in 32 templates.

    python benchmarks/cpu/labels.py [--before CHECKOUT] [--write] NAME=BUNDLE...

Each bank is built in a process of its own. ``--before`` measures another checkout beside this one,
and compares the embeddings. Writes labels.json beside this file; a minute for clap-mini's bundle.
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
import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.cpu import figures  # noqa: E402 - run as a script

RESULTS = Path(__file__).with_name("labels.json")
SIZES = ((1_000, 1), (10_000, 1), (527, 32))  # names, templates
WORDS = (
    "dog barking rain wind engine door glass speech music child laughing water stream bird siren "
    "alarm clock train horn church bell heavy distant small large metal wood paper crowd applause"
).split()
FORMS = (
    "{}", "a sound of {}", "this is a sound of {}", "a noisy recording of {} made outdoors",
    "in this old and quiet recording one can hear {} somewhere far away in the background",
)  # fmt: skip

BUILD = """
import json, sys, time
import numpy as np
from runtime import Encoder, LabelBank
names, templates = json.load(sys.stdin)
with Encoder(sys.argv[1]) as encoder:
    encoder.embed_text("the text encoder is opened")
    start, work = time.perf_counter(), time.process_time()
    bank = LabelBank.build(encoder, names, templates)
    print(time.perf_counter() - start, time.process_time() - work)
np.save(sys.argv[2], bank.embeddings)
"""


def names(count: int) -> list[str]:
    """Of one to six words, none twice."""
    rng, found = np.random.default_rng(0), dict[str, None]()
    while len(found) < count:
        found[" ".join(rng.choice(WORDS, rng.integers(1, 7)))] = None
    return list(found)


def templates(count: int) -> list[str]:
    """Of all lengths that are usual."""
    return [FORMS[i % len(FORMS)] + "." * (i // len(FORMS)) for i in range(count)]


@click.command()
@click.argument("bundles", nargs=-1, required=True)
@click.option("--before", type=click.Path(path_type=Path, exists=True), help="A checkout.")
@click.option("--write", is_flag=True, help="Keep the figures in labels.json.")
def main(bundles: tuple[str, ...], before: Path | None, write: bool) -> None:
    """Build banks with bundles, each given as NAME=FOLDER."""
    codes = {**({"before": before.resolve()} if before else {}), "this": ROOT}
    cases: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, bundle in (one.split("=", 1) for one in bundles):
            for count, forms in SIZES:
                given = json.dumps([names(count), templates(forms) if forms > 1 else None])
                rows: list[np.ndarray] = []
                for code, checkout in codes.items():
                    made = Path(folder, f"{code}.npy")
                    done = subprocess.run(
                        [sys.executable, "-c", BUILD, Path(bundle).resolve(), made],
                        cwd=folder,  # the folder it is started in comes first in its path
                        input=given, text=True,
                        env={**os.environ, "PYTHONPATH": str(checkout), "CLAP_CACHE": ""},
                        capture_output=True, check=True,
                    )  # fmt: skip
                    rows.append(np.load(made))
                    seconds, work = map(float, done.stdout.split())
                    cases.append({
                        "model": name, "names": count, "templates": forms, "code": code,
                        "seconds": round(seconds, 2), "work_s": round(work, 2),
                        "differs_by": float(np.abs(rows[-1] - rows[0]).max()),
                    })  # fmt: skip
                    click.echo(json.dumps(cases[-1]))
    if write:
        figures.keep(RESULTS, cases=cases)


if __name__ == "__main__":
    main()
