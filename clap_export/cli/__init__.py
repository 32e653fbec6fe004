"""The command line: one function per verb; what it prints is made in `show`.

Only click is imported here, so that ``--help`` is quick and works without torch.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clap_export.cli import engines
from clap_export.cli.verbs import Verbs

if TYPE_CHECKING:
    from clap_export.checkpoints import Checkpoint, Family


PATH = click.Path(path_type=Path)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
threads_option = click.option("--threads", type=click.IntRange(1), help="CPU threads of a run.")
provider_option = click.option(
    "--provider", help="Where to run: cpu, cuda, tensorrt or openvino.  [default: tensorrt of a "
    "bundle with engines, else cpu]",
)  # fmt: skip
family_option = click.option(
    "--family", type=click.Choice(["native", "msclap", "laion", "transformers", "open_clip"]),
    help="Read the checkpoint as one of this family.  [default: told by its content]",
)  # fmt: skip
tokenizer_option = click.option(
    "--tokenizer", type=PATH,
    help="Folder of the text tower's tokenizer, for families whose files bring none.  "
    "[default: from the Hugging Face hub]",
)  # fmt: skip
listing_option = click.option(
    "--listing", type=PATH,
    help="CSV of labelled recordings: path (relative to the file), label (several: a|b).",
)  # fmt: skip
template_option = click.option(
    "--template", "templates", multiple=True,
    help="Prompt with one {} for the label; several are averaged.  [default: the bundle's]",
)  # fmt: skip


@click.group(cls=Verbs, invoke_without_command=True)
@click.version_option(package_name="clap-export")
@click.option("--ckpt", type=PATH, help="Checkpoint to export: a file, a folder or a hub id.")
@family_option
@tokenizer_option
@click.option(
    "--target", type=click.Choice(["onnx", "trt"]), default="onnx", show_default=True,
    help="onnx: graphs for ONNX Runtime. trt: TensorRT engines beside them.",
)  # fmt: skip
@click.option("--out", type=PATH, help="Folder to make.  [default: NAME-TARGET]")
@click.option(
    "--precision", type=click.Choice(["fp32", "fp16", "int8", "auto"]),
    help="auto: what is quickest on this machine and passes the gates.  "
    "[default: fp32, of engines fp16]",
)  # fmt: skip
@click.option(
    "--calibrate", "calibration", type=PATH, multiple=True,
    help="Recording, or folder of them, that int8 calibrates with and gates measure on.",
)  # fmt: skip
@listing_option
@engines.options
@json_option
@click.pass_context
def main(
    ctx: click.Context, ckpt: Path | None, family: Family | None, tokenizer: Path | None,
    target: str, out: Path | None, precision: str | None, calibration: tuple[Path, ...],
    listing: Path | None, as_json: bool, **engine: Any,
) -> None:  # fmt: skip
    """Put CLAP models into production.

    With --ckpt: export a checkpoint to a bundle and verify it. Exit code 0: exported and verified;
    1: exported, but a parity gate failed; 2: bad input.
    """
    wanted = engines.given(engine)
    given = any(value is not None for value in (ckpt, family, tokenizer, out, listing, precision))
    given = given or bool(calibration) or bool(wanted)
    if ctx.invoked_subcommand is not None:
        if given:
            raise click.UsageError(
                "the options of an export, --ckpt and its kin, before a verb do not go with "
                f"{ctx.invoked_subcommand}."
            )
        return
    if ckpt is None:
        if given:
            raise click.UsageError("--ckpt is missing: which checkpoint shall be exported?")
        click.echo(ctx.get_help())
        return
    if wanted and target != "trt":
        raise click.UsageError(f"--target onnx takes no {', '.join(engines.flags(wanted))}.")
    out = out or Path(f"{ckpt.stem}-{target}")
    precision = precision or ("fp16" if target == "trt" else "fp32")
    if precision == "fp32" and (calibration or listing):
        raise click.UsageError("--precision fp32 takes neither --calibrate nor --listing.")
    if precision in ("int8", "auto") and not calibration:
        raise click.UsageError(f"--precision {precision} needs recordings to --calibrate with.")
    lower = (precision, calibration, listing)
    _export(ckpt, family, tokenizer, wanted if target == "trt" else None, out, as_json, lower)


def _load(ckpt: Path, family: Family | None, tokenizer: Path | None) -> Checkpoint:
    from clap_export.checkpoints import load

    return load(ckpt, family, tokenizer)


def _export(
    ckpt: Path, family: Family | None, tokenizer: Path | None, engine: dict[str, Any] | None,
    out: Path, as_json: bool, lower: tuple[str, tuple[Path, ...], Path | None],
) -> None:  # fmt: skip
    from clap_export.cli import show

    precision, calibration, listing = lower
    building = None if engine is None else engines.building(engine, precision)
    from clap_export.export.pack import beside, check_free

    check_free(out)  # before the slow imports and the loading
    from clap_export.parity.accuracy import read_listing
    from clap_export.precision.choose import choose, recordings

    clips, items = recordings(calibration), read_listing(listing) if listing else []
    with show.stages() as progress:
        progress("loading the checkpoint")
        checkpoint = _load(ckpt, family, tokenizer)
        from clap_export.export.pack import write_bundle
        from clap_export.parity.checkpoint import verify as run_verify

        with beside(out) as folder:
            made = folder / "fp32"
            write_bundle(checkpoint, made, progress)
            parity = run_verify(made, checkpoint, progress=progress)
            if parity.passed:
                made, parity = choose(made, folder, precision, clips, items, progress)
            if parity.passed and building is not None:
                parity = building(made, folder / "fp32", out, progress) or parity
            made.rename(out)
    if as_json:
        show.manifest_json(out)
    else:
        show.exported(out, parity)
    sys.exit(0 if parity.passed else 1)


@main.command()
@click.argument("bundle", type=PATH)
@click.option("--ckpt", type=PATH, required=True, help="Checkpoint it was exported from.")
@family_option
@tokenizer_option
@click.option("--clip", "clips", type=PATH, multiple=True, help="Recording to compare on as well.")
@json_option
def verify(
    bundle: Path, ckpt: Path, family: Family | None, tokenizer: Path | None,
    clips: tuple[Path, ...], as_json: bool,
) -> None:  # fmt: skip
    """Compare BUNDLE with its checkpoint, through the runtime; exit code 1 if a gate fails."""
    from clap_export.cli import show

    with show.stages() as progress:
        progress("loading the checkpoint")
        checkpoint = _load(ckpt, family, tokenizer)
        from clap_export.parity.checkpoint import verify as run

        parity = run(bundle, checkpoint, clips, progress)
    show.parity_json(parity) if as_json else show.parity(parity)
    sys.exit(0 if parity.passed else 1)


@main.command(name="eval")
@click.argument("bundle", type=PATH)
@listing_option
@click.option("--against", type=PATH, help="Bundle to compare with, such as the same in FP32.")
@template_option
@provider_option
@threads_option
@json_option
def evaluate(
    bundle: Path, listing: Path | None, against: Path | None, templates: tuple[str, ...],
    provider: str | None, threads: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Zero-shot accuracy of BUNDLE on labelled recordings; the labels are the listing's own."""
    if listing is None:
        raise click.UsageError("--listing is missing: which recordings shall be classified?")
    from clap_export.cli import show
    from clap_export.parity.accuracy import agreement, read_listing
    from clap_export.parity.accuracy import evaluate as run
    from runtime import Encoder

    items = read_listing(listing)
    runs = []
    with show.stages() as progress:
        for folder in filter(None, (bundle, against)):
            with Encoder(folder, providers=provider and (provider,), threads=threads) as encoder:
                runs.append(run(encoder, items, templates, progress))
    agree = agreement(*runs) if against else None
    show.accuracy([found.accuracy for found in runs], agree, as_json)


@main.command()
@click.argument("bundle", type=PATH)
@json_option
def inspect(bundle: Path, as_json: bool) -> None:
    """Print what BUNDLE is, after checking every file's hash."""
    from clap_export.cli import show
    from runtime.bundle import Bundle

    opened = Bundle(bundle)
    show.manifest_json(bundle) if as_json else show.manifest(opened)


@main.command()
@click.argument("bundle", type=PATH)
@click.argument("file", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="Bank to write (.npz).")
@click.option("--overwrite", is_flag=True, help="Replace an existing bank.")
@template_option
@provider_option
def labels(
    bundle: Path,
    file: Path,
    output: Path,
    overwrite: bool,
    templates: tuple[str, ...],
    provider: str | None,
) -> None:
    """Embed the labels of FILE (one a line) once, for use without the text encoder."""
    from runtime import Encoder, LabelBank
    from runtime.labels import read_labels

    names = read_labels(file)
    with Encoder(bundle, providers=provider and (provider,)) as encoder:
        bank = LabelBank.build(encoder, names, templates or None)
    bank.save(output, overwrite=overwrite)
    click.echo(f"{len(bank)} labels, {len(bank.templates)} template(s) -> {output}")


@main.command()
@click.argument("bundle", type=PATH)
@click.argument("files", type=PATH, nargs=-1, required=True)
@click.option("--labels", required=True, help="a,b,c or a text file or a saved bank (.npz).")
@template_option
@click.option("--top-k", type=click.IntRange(1), default=3, show_default=True, help="Best labels.")
@click.option(
    "--scores", type=click.Choice(["softmax", "cosine", "multilabel"]), default="softmax",
    show_default=True, help="What the score is.",
)  # fmt: skip
@click.option("--threshold", type=float, help="Drop labels with a lower score.")
@click.option("--min-similarity", type=float, help="Drop labels with a lower cosine.")
@click.option("--timeline", is_flag=True, help="Classify each window instead of the whole file.")
@click.option("--hop", type=float, help="Seconds between windows of the timeline.")
@click.option("--batch-size", type=click.IntRange(1), default=16, show_default=True)
@provider_option
@threads_option
@json_option
def classify(
    bundle: Path, files: tuple[Path, ...], labels: str, templates: tuple[str, ...], top_k: int,
    scores: Any, threshold: float | None, min_similarity: float | None, timeline: bool,
    hop: float | None, batch_size: int, provider: str | None, threads: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Classify FILES with any labels. A file that cannot be read is reported in its place.

    Exit code 2 when a file could not be used, after all others are done. With --json one object
    per file and line.
    """
    if hop is not None and not timeline:
        raise click.UsageError("--hop needs --timeline.")
    from clap_export.bench.machine import usable_cores
    from clap_export.cli import show
    from runtime import Classifier
    from runtime.bundle import read_manifest

    # Of many files every core takes one at a time.
    cores = usable_cores()
    runs_on_cpu = provider == "cpu" or (provider is None and read_manifest(bundle).engines is None)
    many = runs_on_cpu and threads is None and not timeline and len(files) > 2 * cores > 2
    with Classifier(
        bundle, _labels(labels), templates=templates or None, scores=scores, threshold=threshold,
        min_similarity=min_similarity, top_k=top_k, providers=provider and (provider,),
        threads=1 if many else threads, batch_size=batch_size,
    ) as classifier:  # fmt: skip
        if timeline:
            results = show.timelines(classifier, files, hop)
        else:
            parallel = cores if many else 1
            results = classifier.predict_many(files, batch_size=batch_size, parallel=parallel)
        failed = show.results_json(results) if as_json else show.results(results)
    sys.exit(2 if failed else 0)


def _labels(text: str) -> Any:
    """A path when it is one or looks like one, otherwise names between commas."""
    path = Path(text)
    if path.exists() or path.suffix in (".txt", ".npz") or len(path.parts) > 1:
        return path
    return [name.strip() for name in text.split(",") if name.strip()]


@main.command()
@click.option("--ckpt", type=PATH, required=True, help="Checkpoint to export.")
@click.option("--out", type=PATH, required=True, help="Folder for the bundle and the sounds.")
@click.argument("files", type=PATH, nargs=-1)
def demo(ckpt: Path, out: Path, files: tuple[Path, ...]) -> None:
    """Export, verify, and classify sounds made by code, and FILES if any, with timings."""
    from clap_export.cli.demo import run

    sys.exit(0 if run(ckpt, out, files) else 1)


@main.command()
@click.argument("bundles", type=PATH, nargs=-1, required=True)
@click.option(
    "--against", default="",
    help="Peers to measure beside: torch, transformers, openvino; on cuda torch, torch-compile, "
    "transformers.",
)  # fmt: skip
@click.option("--ckpt", type=PATH, help="Checkpoint that the bundles were made from, for peers.")
@family_option
@tokenizer_option
@click.option("--clip", "clips", type=PATH, multiple=True, help="Recording to measure with.")
@click.option(
    "--batch", default="", help="Batch sizes.  [default: 1,4,16; on cuda 1,8,16,32,64,128,256]"
)
@click.option("--runs", type=int, default=30, show_default=True, help="Measured runs of each.")
@listing_option
@click.option("--json", "json_file", type=PATH, help="Write the report as JSON.")
@click.option("--markdown", "markdown_file", type=PATH, help="Write the tables as Markdown.")
@click.option("--plot", "plot_file", type=PATH, help="Write a picture: PNG, SVG or PDF.")
@click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True,
    help="Where peers run, and bundles if --provider does not say; cuda: the first GPU, in FP16.",
)  # fmt: skip
@click.option(
    "--provider", "providers", default="",
    help="Where to run bundles, several between commas: cpu, cuda, tensorrt, openvino.  [default: "
    "cpu; on cuda tensorrt for bundles with engines, cuda for others]",
)  # fmt: skip
@click.option("--threads", default="", help="CPU threads of a run, several between commas.")
@click.option(
    "--tensorrt-python", type=PATH,
    help="Interpreter that has the tensorrt package, if it is not this one.",
)  # fmt: skip
def bench(
    bundles: tuple[Path, ...], against: str, ckpt: Path | None, family: Family | None,
    tokenizer: Path | None, clips: tuple[Path, ...], batch: str, runs: int, listing: Path | None,
    json_file: Path | None, markdown_file: Path | None, plot_file: Path | None, device: Any,
    providers: str, threads: str, tensorrt_python: Path | None,
) -> None:  # fmt: skip
    """Measure BUNDLES on this machine, side by side: end to end and per stage.

    Every bundle, provider, number of threads and peer has a process of its own; they take turns.
    Cosines are to the first bundle's embeddings: put the FP32 one first.
    """
    from clap_export.bench import Peers, Request
    from clap_export.bench import bench as run
    from clap_export.cli import show

    request = Request(
        bundles, tuple(_words(providers)), tuple(_numbers("--threads", threads)) or (None,),
        Peers(tuple(_words(against)), ckpt, family, tokenizer), device, tensorrt_python,
        clips, tuple(_numbers("--batch", batch)) or None, runs, listing,
    )  # fmt: skip
    with show.stages() as progress:
        report = run(request, progress)
    show.bench(report, json_file, markdown_file, plot_file)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(option: str, text: str) -> list[int]:
    try:
        return [int(word) for word in _words(text)]
    except ValueError as error:
        raise click.UsageError(
            f"{option} {text!r}: give whole numbers between commas, as in 1,4,16."
        ) from error


main.add_command(engines.build)
