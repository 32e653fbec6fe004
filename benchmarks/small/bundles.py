"""What is carried to a device: a model in each form and precision."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu import models
from clap_export.sounds.catalogue import SOUNDS

PRECISIONS = ("fp32", "fp16", "int8")
NAMES, BANK, TAGGER = "names", "bank, no text encoder", "tagger"


@dataclass(frozen=True)
class Carried:
    """One of them.

    Attributes:
        model: its name.
        precision: of its graphs.
        form: labels as names, which the text encoder reads on the device; as a bank, beside a
            bundle without text encoder; or inside the graph.
        source: bundle or tagger.
        labels: file of names, or the bank.
    """

    model: str
    precision: str
    form: str
    source: Path
    labels: Path

    @property
    def bytes(self) -> int:
        """That are on the device's disk."""
        parts = (self.source, *(() if self.form == TAGGER else (self.labels,)))
        files = (file for part in parts for file in ([part] if part.is_file() else part.rglob("*")))
        return sum(file.stat().st_size for file in files if file.is_file())


def command(*words: str | Path) -> None:
    """``clap-export`` of this checkout."""
    print("clap-export", *words, file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "clap_export", *map(str, words)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    # Gates of a model whose weights are generated may fail; the bundle is there all the same.
    if done.returncode > 1:
        raise SystemExit(f"clap-export {words[0]} … ended with {done.returncode}: {done.stderr}")


def carried(folder: Path, sounds: Path, names: tuple[str, ...]) -> Iterator[Carried]:
    """Make them, unless they are there.

    Args:
        folder: to keep them in.
        sounds: recordings that 8 bits are calibrated with.
        names: of the models; see :mod:`benchmarks.gpu.models`.
    """
    labels = folder / "labels.txt"
    labels.write_text("\n".join(SOUNDS) + "\n", encoding="utf-8")
    for model in names:
        # clap-mini as it is shipped: the GPU's script gives it longer windows.
        checkpoint = models.CLAP_MINI if model == "clap-mini" else models.make(model, folder)
        for precision in PRECISIONS:
            base = folder / f"{model}-{precision}"
            whole, lean = base.with_name(f"{base.name}-bundle"), base.with_name(f"{base.name}-lean")
            bank, tagger = base.with_suffix(".npz"), base.with_suffix(".onnx")
            if not whole.exists():
                calibrated = ("--calibrate", sounds) if precision == "int8" else ()
                command("--ckpt", checkpoint, "--out", whole, "--precision", precision, *calibrated)
            if not lean.exists():
                command("slim", whole, "-o", lean)
            if not bank.exists():
                command("labels", whole, labels, "-o", bank)
            if not tagger.exists():
                command("freeze", whole, labels, "-o", tagger)
            yield Carried(model, precision, NAMES, whole, labels)
            yield Carried(model, precision, BANK, lean, bank)
            yield Carried(model, precision, TAGGER, tagger, labels)
