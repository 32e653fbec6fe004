"""The verb ``bench``: measure bundles side by side, and beside what people use otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clap_export.cli import options
from clap_export.cli.options import OUTPUT, PATH
from clap_export.command.ending import DONE

if TYPE_CHECKING:
    from clap_export.bench import Report, Request


@dataclass(frozen=True)
class ReportFiles:
    """Where a report goes beside the terminal; None for nowhere."""

    json: Path | None
    markdown: Path | None
    plot: Path | None


@click.command()
@click.argument("bundles", type=PATH, nargs=-1, required=True)
@click.option(
    "--against", default="",
    help="Peers to measure beside: torch, openvino, transformers, transformers-bf16, "
    "transformers-compile, transformers-openvino, transformers-int8, plain; on cuda torch, "
    "torch-compile, transformers.",
)  # fmt: skip
@click.option("--ckpt", type=PATH, help="Checkpoint that the bundles were made from, for peers.")
@options.checkpoint_options
@click.option("--clip", "clips", type=PATH, multiple=True, help="Recording to measure with.")
@click.option(
    "--batch", default="", help="Batch sizes.  [default: 1,4,16; on cuda 1,8,16,32,64,128,256]"
)
@click.option("--runs", type=int, default=30, show_default=True, help="Measured runs of each.")
@click.option(
    "--rest", type=float, help="Measure a recording after so many seconds without work, too."
)
@click.option(
    "--files", type=int,
    help="Files in a stream; from 100 on it runs once a round.  [default: 16; on cuda 128]",
)  # fmt: skip
@options.listing_option
@click.option("--json", "json_file", type=OUTPUT, help="Write the report as JSON.")
@click.option("--markdown", "markdown_file", type=OUTPUT, help="Write the tables as Markdown.")
@click.option("--plot", "plot_file", type=OUTPUT, help="Write a picture: PNG, SVG or PDF.")
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
    json_file: Path | None, markdown_file: Path | None, plot_file: Path | None, **given: Any
) -> int:
    """Measure BUNDLES on this machine, side by side: end to end and per stage.

    Every bundle, provider, number of threads and peer has a process of its own; they take turns.
    Cosines are to the first bundle's embeddings: put the FP32 one first.
    """
    request = _request(given)
    from clap_export.bench import bench
    from clap_export.cli import console

    with console.stages() as progress:
        report = bench(request, progress)
    _deliver(report, ReportFiles(json_file, markdown_file, plot_file))
    return DONE


def _deliver(report: Report, files: ReportFiles) -> None:
    """Print a bench report, and write it wherever asked."""
    import json

    from clap_export import bench as made
    from clap_export.cli import console
    from runtime import schema

    console.print_table(made.table(report), markup=True)
    if files.json is not None:
        plain = json.dumps(schema.to_plain(report), indent=2)
        _write(files.json, plain + "\n")
    if files.markdown is not None:
        _write(files.markdown, made.markdown(report))
    if files.plot is not None:
        made.plot(report, files.plot)


def _write(path: Path, text: str) -> None:
    from runtime.files import writing

    with writing(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


def _request(given: dict[str, Any]) -> Request:
    """What was typed, lists between commas, as the benchmark's request."""
    batches, counts = (_numbers(f"--{name}", given.pop(name)) for name in ("batch", "threads"))
    from clap_export.bench import Peers, Request

    source = (given.pop(name) for name in ("ckpt", "family", "tokenizer"))
    return Request(
        providers=_words(given.pop("providers")),
        threads=counts or (None,),
        peers=Peers(_words(given.pop("against")), *source),
        batches=batches or None,
        **given,
    )


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in _words(text))
    except ValueError as error:
        raise click.UsageError(
            f"{option} {text!r}: give whole numbers between commas, as in 1,4,16."
        ) from error
