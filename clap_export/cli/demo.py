"""The verb ``demo``: the whole product in one go, export, verify, classify, with timings."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clap_export.cli.options import PATH
from clap_export.command import terminal
from clap_export.command.ending import DONE, GATE_FAILED
from runtime.errors import ClapError

if TYPE_CHECKING:
    from runtime.manifest import Parity


@click.command()
@click.option("--ckpt", type=PATH, required=True, help="Checkpoint to export.")
@click.option("--out", type=PATH, required=True, help="Folder for the bundle and the sounds.")
@click.argument("files", type=PATH, nargs=-1)
def demo(ckpt: Path, out: Path, files: tuple[Path, ...]) -> int:
    """Export, verify, and classify sounds made by code, and FILES if any, with timings."""
    from clap_export.cli import show
    from clap_export.sounds.catalogue import write_demo_sounds

    bundle, took = out / "bundle", dict[str, float]()
    parity = _make(ckpt, bundle, took)
    show.exported(bundle, parity)
    sounds = write_demo_sounds(out / "sounds")
    _classify(bundle, [*sounds, *files], took)
    terminal.say("; ".join(f"{stage}: {seconds:.1f} s" for stage, seconds in took.items()))
    return DONE if parity.passed else GATE_FAILED


def _make(ckpt: Path, bundle: Path, took: dict[str, float]) -> Parity:
    """The bundle, in place of the one of an earlier demonstration."""
    from clap_export.checkpoints import load
    from clap_export.cli import show
    from clap_export.export.pack import making, write_bundle
    from clap_export.parity.checkpoint import verify
    from runtime.files import publish
    from runtime.manifest import MANIFEST

    if bundle.is_dir() and any(bundle.iterdir()) and not (bundle / MANIFEST).is_file():
        raise ClapError(f"'{bundle}' holds something else than a bundle: give another --out.")
    bundle.parent.mkdir(parents=True, exist_ok=True)
    with show.stages() as progress, making(bundle) as folder:
        with _timed(took, "export"):
            progress("loading the checkpoint")
            checkpoint = load(ckpt)
            write_bundle(checkpoint, folder / "new", progress)
        with _timed(took, "verify"):
            parity = verify(folder / "new", checkpoint, progress=progress)
        if bundle.exists():
            bundle.rename(folder / "old")
        publish(folder / "new", bundle)
    return parity


def _classify(bundle: Path, files: Sequence[Path], took: dict[str, float]) -> None:
    from clap_export.cli import console
    from clap_export.cli.console import cell
    from clap_export.sounds.catalogue import SOUNDS
    from runtime import Classifier

    with _timed(took, "open the bundle, embed the labels"):
        classifier = Classifier(bundle, labels=list(SOUNDS))
    headings = ("file", "best label", "score", "second", "score", "ms")
    title = "sounds made by code, and the files given"
    table = console.new_table(*headings, title=title, left=("file", "best label", "second"))
    with classifier:
        classifier.predict(files[0])  # the first run of a session allocates
        for path in files:
            began = time.perf_counter()
            first, second = classifier.predict(path, top_k=2)
            milliseconds = 1000 * (time.perf_counter() - began)
            table.add_row(
                cell(path.name), first.label, f"{first.score:.2f}", second.label,
                f"{second.score:.2f}", f"{milliseconds:.1f}",
            )  # fmt: skip
    console.print_table(table)


@contextmanager
def _timed(took: dict[str, float], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    took[stage] = time.perf_counter() - began
