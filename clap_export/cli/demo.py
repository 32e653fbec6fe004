"""The whole product in one go: export, verify, classify, with timings."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from clap_export.cli import show
from runtime import Classifier


def run(ckpt: Path, out: Path, files: Sequence[Path]) -> bool:
    """Run the demonstration in ``out`` (made anew); returns whether the bundle was verified.

    Raises:
        ClapError: the checkpoint or a file cannot be used.
    """
    from clap_export.checkpoints import load
    from clap_export.export.pack import write_bundle
    from clap_export.parity.checkpoint import verify
    from clap_export.sounds.catalogue import SOUNDS, write_demo_sounds

    out.mkdir(parents=True, exist_ok=True)
    bundle = out / "bundle"
    shutil.rmtree(bundle, ignore_errors=True)
    took: dict[str, float] = {}
    with show.stages() as progress:
        began = time.perf_counter()
        progress("loading the checkpoint")
        checkpoint = load(ckpt)
        write_bundle(checkpoint, bundle, progress)
        took["export"] = time.perf_counter() - began
        began = time.perf_counter()
        parity = verify(bundle, checkpoint, progress=progress)
        took["verify"] = time.perf_counter() - began
    show.exported(bundle, parity)
    sounds = write_demo_sounds(out / "sounds")
    began = time.perf_counter()
    classifier = Classifier(bundle, labels=list(SOUNDS))
    took["open the bundle, embed the labels"] = time.perf_counter() - began
    table = Table(title="sounds made by code, and the files given")
    for heading in ("file", "best label", "score", "second", "score", "ms"):
        table.add_column(heading, justify="right" if heading in ("score", "ms") else "left")
    with classifier:
        classifier.predict(sounds[0])  # the first run of a session allocates
        for path in [*sounds, *files]:
            began = time.perf_counter()
            first, second = classifier.predict(path, top_k=2)
            milliseconds = 1000 * (time.perf_counter() - began)
            table.add_row(
                path.name, first.label, f"{first.score:.2f}", second.label,
                f"{second.score:.2f}", f"{milliseconds:.1f}",
            )  # fmt: skip
    console = Console()
    console.print(table)
    console.print("; ".join(f"{stage}: {seconds:.1f} s" for stage, seconds in took.items()))
    return parity.passed
