"""The verb ``freeze``: labels into a bundle's audio graph.

Only click is imported here, as in :mod:`clap_export.cli`.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clap_export.cli import options
from clap_export.cli.options import OUTPUT, PATH
from clap_export.command import terminal
from clap_export.command.ending import DONE, GATE_FAILED

if TYPE_CHECKING:
    from runtime import LabelBank


@dataclass(frozen=True)
class FreezeRequest:
    """What was asked of ``freeze``; see the command's options.

    Attributes:
        source: a bundle, or the tagger to relabel.
        labels: as typed; see :func:`clap_export.cli.classify.labels_of`.
        precision: that the bundle is brought to; None for its own.
    """

    source: Path
    labels: str
    output: Path
    templates: tuple[str, ...]
    top_k: int | None
    scores: str | None
    precision: str | None
    calibration: tuple[Path, ...]
    format: str
    relabel: bool
    overwrite: bool
    public_key: Path | None


@click.command()
@click.argument("source", metavar="BUNDLE", type=PATH)
@click.argument("labels", type=str)
@click.option("-o", "--output", type=OUTPUT, required=True, help="File to write (.onnx).")
@options.template_option
@click.option("--top-k", type=click.IntRange(1), help="Also give the best so many labels.")
@options.scores_option
@click.option(
    "--precision", type=click.Choice(["fp32", "fp16", "int8"]),
    help="Of the encoder, from a bundle in fp32.  [default: the bundle's]",
)  # fmt: skip
@click.option(
    "--calibrate", "calibration", type=PATH, multiple=True,
    help="Recording, or folder of them, that int8 calibrates with.",
)  # fmt: skip
@click.option(
    "--format", type=click.Choice(["onnx", "openvino"]), default="onnx", show_default=True,
    help="openvino: OpenVINO's own two files (.xml, .bin).",
)  # fmt: skip
@click.option("--relabel", is_flag=True, help="BUNDLE is a tagger (.onnx): give it other labels.")
@options.overwrite_option
@options.public_key_option
def freeze(**given: Any) -> int:
    """Put LABELS into BUNDLE's audio graph: one file, from a waveform to scores.

    LABELS are names between commas, a file of them, or a saved bank or head, as for classify. The
    file needs no text encoder, no tokenizer and no clap-export; the labels' names are written
    beside it.
    --relabel takes a saved bank alone, as a tagger has no text encoder.
    """
    request = FreezeRequest(**given)
    if request.calibration and request.precision in (None, "fp32"):
        raise click.UsageError("--calibrate needs a --precision below fp32.")
    from clap_export.freeze import files
    from runtime.files import scratch

    with ExitStack() as stack:
        folder = stack.enter_context(scratch(request.output)) if request.precision else None
        model, bank, passed = _relabelled(request) if request.relabel else _frozen(request, folder)
        kind, overwrite = request.format, request.overwrite
        paths = files.write(model, bank, request.output, kind, overwrite=overwrite)
    for path in paths:
        terminal.say(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    outputs = [output.name for output in model.graph.output]
    terminal.say(f"{len(bank)} labels; waveform -> {', '.join(outputs)}")
    if not passed:
        terminal.warn(
            f"the bundle in {request.precision} is NOT within the limits of clap-export verify."
        )
    return DONE if passed else GATE_FAILED


def _frozen(request: FreezeRequest, folder: Path | None) -> tuple[Any, LabelBank, bool]:
    from clap_export.cli.classify import labels_of
    from clap_export.freeze import files
    from clap_export.freeze.graph import freeze as frozen
    from runtime import Bundle, Encoder, LabelBank
    from runtime.errors import LabelError

    bundle = Bundle(request.source, public_key=request.public_key)
    labels = labels_of(request.labels)
    if isinstance(labels, LabelBank):
        if request.templates:
            raise LabelError("--template does not apply to a saved bank: build it with them.")
        labels.check_fits(bundle.manifest)
    # Another precision takes minutes, and so may many labels.
    names = labels.names if isinstance(labels, LabelBank) else labels
    files.check(names, request.output, request.format, overwrite=request.overwrite)
    passed = True
    if folder is not None and request.precision != bundle.manifest.audio_graph.precision:
        bundle, passed = _lowered(request, folder)
    if isinstance(labels, LabelBank):
        bank = labels
    else:
        with Encoder(Bundle(request.source, public_key=request.public_key)) as encoder:
            bank = LabelBank.build(encoder, labels, request.templates or None)
    return frozen(bundle, bank, request.scores, request.top_k), bank, passed


def _relabelled(request: FreezeRequest) -> tuple[Any, LabelBank, bool]:
    from clap_export.cli.classify import file_of
    from clap_export.freeze.graph import relabel
    from runtime import LabelBank
    from runtime.errors import LabelError
    from runtime.tagger_file import TaggerFile

    typed = {"--top-k": request.top_k, "--precision": request.precision,
             "--template": request.templates, "--public-key": request.public_key}  # fmt: skip
    wrong = [name for name, value in typed.items() if value]
    if wrong or request.scores is not None:
        raise click.UsageError(f"{(wrong or ['--scores'])[0]} is the tagger's own: freeze it anew.")
    path = file_of(request.labels)
    if path is None or path.suffix.lower() != ".npz":
        raise LabelError(
            "--relabel needs a saved bank (.npz), as a tagger has no text encoder. Make one: "
            "clap-export labels BUNDLE FILE -o bank.npz"
        )
    bank = LabelBank.load(path)
    return relabel(TaggerFile(request.source, engine=False), bank), bank, True


def _lowered(request: FreezeRequest, folder: Path) -> tuple[Any, bool]:
    """The bundle in another precision, and whether it is within its limits."""
    from clap_export.cli import show
    from clap_export.precision.choose import check_possible, choose, recordings
    from runtime import Bundle, ClapError
    from runtime.manifest import read_manifest

    precision = request.precision or "fp32"
    manifest = read_manifest(request.source)
    if manifest.audio_graph.precision != "fp32" or manifest.parity is None:
        state = f"in {manifest.audio_graph.precision}" if manifest.parity else "not verified"
        raise ClapError(
            f"--precision {precision} needs a verified bundle in fp32, and {request.source} is "
            f"{state}: export the checkpoint anew."
        )
    clips = recordings(request.calibration)
    check_possible(precision, len(clips))
    with show.stages() as progress:
        lowered, parity = choose(request.source, folder, precision, clips, (), progress)
    return Bundle(lowered), parity.passed
