"""``clap-export --ckpt``: from a checkpoint to a verified bundle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from clap_export.cli import engines, options
from clap_export.cli.options import PATH
from clap_export.command.ending import DONE, GATE_FAILED

if TYPE_CHECKING:
    from clap_export.checkpoints import Family
    from runtime.manifest import Precision

all_options = options.all_of(
    click.option("--ckpt", type=PATH, help="Checkpoint to export: a file, a folder or a hub id."),
    options.checkpoint_options,
    click.option(
        "--target", type=click.Choice(["onnx", "trt"]), default="onnx", show_default=True,
        help="onnx: graphs for ONNX Runtime. trt: TensorRT engines beside them.",
    ),
    click.option("--out", type=PATH, help="Folder to make.  [default: NAME-TARGET]"),
    click.option(
        "--precision", type=click.Choice(["fp32", "fp16", "bf16", "int8", "int8+bf16", "auto"]),
        help="bf16: computed so by OpenVINO, on CPUs that have it. auto: what is quickest on this "
        "machine and passes the gates.  [default: fp32, of engines fp16]",
    ),
    click.option(
        "--calibrate", "calibration", type=PATH, multiple=True,
        help="Recording, or folder of them, that int8 calibrates with and gates measure on.",
    ),
    options.listing_option,
    engines.all_options,
    options.json_option,
)  # fmt: skip


@dataclass(frozen=True)
class ExportRequest:
    """What was asked of an export.

    Attributes:
        ckpt: file, folder or hub id.
        out: folder to make.
        family: to read the checkpoint as; None tells it by its content.
        tokenizer: folder of the text tower's tokenizer, for families that bring none.
        precision: a bundle's, or ``auto``.
        calibration: recordings, or folders of them.
        listing: of labelled recordings for the gates of accuracy.
        engine: options of TensorRT engines, or None for none.
    """

    ckpt: Path
    out: Path
    family: Family | None
    tokenizer: Path | None
    precision: Precision | Literal["auto"]
    calibration: tuple[Path, ...]
    listing: Path | None
    engine: dict[str, Any] | None

    @classmethod
    def of(cls, given: dict[str, Any]) -> ExportRequest:
        """From click's arguments.

        Raises:
            UsageError: they do not go together.
        """
        ckpt, target = given["ckpt"], given["target"]
        if ckpt is None:
            raise click.UsageError("--ckpt is missing: which checkpoint shall be exported?")
        engine = engines.given(given)
        if engine and target != "trt":
            raise click.UsageError(f"--target onnx takes no {', '.join(engines.flags(engine))}.")
        precision = given["precision"] or ("fp16" if target == "trt" else "fp32")
        calibration, listing = given["calibration"], given["listing"]
        if precision == "fp32" and (calibration or listing):
            raise click.UsageError("--precision fp32 takes neither --calibrate nor --listing.")
        if precision in ("int8", "int8+bf16", "auto") and not calibration:
            raise click.UsageError(f"--precision {precision} needs recordings to --calibrate with.")
        return cls(
            ckpt, given["out"] or Path(f"{ckpt.stem}-{target}"), given["family"],
            given["tokenizer"], precision, calibration, listing,
            engine if target == "trt" else None,
        )  # fmt: skip


def run(request: ExportRequest, as_json: bool) -> int:
    """Export, verify, lower, build; what was asked for is in ``out`` whole or not at all."""
    from clap_export.cli import show

    with show.stages() as progress:
        parity = _make(request, progress)
    if as_json:
        from runtime.manifest import read_manifest

        show.manifest_json(read_manifest(request.out))
    else:
        show.exported(request.out, parity)
    return DONE if parity.passed else GATE_FAILED


def _make(request: ExportRequest, progress: Callable[[str], None]) -> Any:
    building = None
    if request.engine is not None:
        building = engines.building(request.engine, request.precision)
    out = request.out
    from clap_export.export.pack import check_free

    check_free(out)  # before the slow imports and the loading
    from clap_export.parity.accuracy import read_listing
    from clap_export.precision.choose import check_possible, choose, recordings

    clips = recordings(request.calibration)
    check_possible(request.precision, len(clips))
    labelled = read_listing(request.listing) if request.listing else []
    progress("loading the checkpoint")
    from clap_export.checkpoints import load

    checkpoint = load(request.ckpt, request.family, request.tokenizer)
    from clap_export.export.pack import making, write_bundle
    from clap_export.parity.checkpoint import verify
    from runtime import tuned
    from runtime.files import publish

    with making(out) as folder:
        made = folder / "fp32"
        write_bundle(checkpoint, made, progress)
        parity = verify(made, checkpoint, progress=progress)
        if parity.passed:
            made, parity = choose(made, folder, request.precision, clips, labelled, progress)
        if parity.passed and building is not None:
            parity = building(made, folder / "fp32", out, progress) or parity
        timed = tuned.path_of(made)
        quickest = tuned.read(timed) if timed.exists() else None
        publish(made, out)
    if quickest is not None:
        tuned.write(out, quickest)
    return parity
