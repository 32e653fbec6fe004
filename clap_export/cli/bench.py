"""The verb ``bench``: measure bundles side by side, and beside what people use otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from clap_export.cli import options
from clap_export.cli.ending import DONE
from clap_export.cli.options import PATH

if TYPE_CHECKING:
    from clap_export.bench import Candidate


@dataclass(frozen=True)
class BenchRequest:
    """What was asked of ``bench``, as it was typed: lists stand between commas.

    Attributes:
        bundles: the first is what all others are compared with.
        against: peers.
        ckpt: checkpoint of the peers; ``family`` and ``tokenizer`` go with it.
        clips: recordings to measure with; none for a made one.
        batch: sizes of batches.
        runs: measured ones of every task.
        listing: labelled recordings to measure accuracy on.
        device: where peers run, and bundles that no provider is given for.
        providers: to run bundles on.
        threads: of the CPU.
        tensorrt_python: interpreter that has TensorRT's package.
    """

    bundles: tuple[Path, ...]
    against: str
    ckpt: Path | None
    family: str | None
    tokenizer: Path | None
    clips: tuple[Path, ...]
    batch: str
    runs: int
    listing: Path | None
    device: Literal["cpu", "cuda"]
    providers: str
    threads: str
    tensorrt_python: Path | None

    def candidates(self) -> list[Candidate]:
        """Every bundle on every provider, and every peer, with every number of threads."""
        from clap_export.bench import candidates

        return candidates(
            self.bundles, _words(self.providers), _numbers("--threads", self.threads) or [None],
            _words(self.against), self.ckpt, self.family, self.tokenizer, self.device,
            self.tensorrt_python,
        )  # fmt: skip

    def batches(self) -> list[int] | None:
        """Sizes of batches, or None for the device's."""
        return _numbers("--batch", self.batch) or None


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
    help="Peers to measure beside: torch, transformers, openvino; on cuda torch, torch-compile, "
    "transformers.",
)  # fmt: skip
@click.option("--ckpt", type=PATH, help="Checkpoint that the bundles were made from, for peers.")
@options.checkpoint_options
@click.option("--clip", "clips", type=PATH, multiple=True, help="Recording to measure with.")
@click.option(
    "--batch", default="", help="Batch sizes.  [default: 1,4,16; on cuda 1,8,16,32,64,128,256]"
)
@click.option("--runs", type=int, default=30, show_default=True, help="Measured runs of each.")
@options.listing_option
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
    json_file: Path | None, markdown_file: Path | None, plot_file: Path | None, **given: Any
) -> int:
    """Measure BUNDLES on this machine, side by side: end to end and per stage.

    Every bundle, provider, number of threads and peer has a process of its own; they take turns.
    Cosines are to the first bundle's embeddings: put the FP32 one first.
    """
    request = BenchRequest(**given)
    batches = request.batches()
    from clap_export.bench import bench
    from clap_export.cli import show

    found = request.candidates()
    with show.stages() as progress:
        report = bench(
            found, request.clips or None, batches, request.runs, progress,
            listing=request.listing, device=request.device,
        )  # fmt: skip
    show.bench(report, ReportFiles(json_file, markdown_file, plot_file))
    return DONE


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(option: str, text: str) -> list[int]:
    try:
        return [int(word) for word in _words(text)]
    except ValueError as error:
        raise click.UsageError(
            f"{option} {text!r}: give whole numbers between commas, as in 1,4,16."
        ) from error
