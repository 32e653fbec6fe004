"""Use a bundle: the verbs ``labels`` and ``classify``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from clap_export.cli import options
from clap_export.cli.options import BANK, PATH
from clap_export.command import terminal
from clap_export.command.ending import BAD_INPUT, DONE
from runtime.errors import ClapError

if TYPE_CHECKING:
    from clap_export.cli.results import Outcome
    from runtime import Classifier, LabelBank

STDIN = "-"
LABEL_FILES = (".txt", ".csv", ".npz")
TOP_K = 3
WHOLE = ("table", "json")
FORMATS = (*WHOLE, "csv", "parquet", "audacity", "raven", "webvtt")


@click.command()
@click.argument("bundle", type=PATH)
@click.argument("file", type=PATH)
@click.option("-o", "--output", type=BANK, required=True, help="Bank to write (.npz).")
@click.option("--overwrite", is_flag=True, help="Replace an existing bank.")
@options.template_option
@options.provider_option
def labels(
    bundle: Path, file: Path, output: Path, overwrite: bool, templates: tuple[str, ...],
    provider: str | None,
) -> int:  # fmt: skip
    """Embed the labels of FILE (one a line) once, for use without the text encoder."""
    from runtime import Encoder, LabelBank, files

    files.check_new(output, overwrite=overwrite)
    names = names_in(file)
    with Encoder(bundle, providers=provider and (provider,)) as encoder:
        bank = LabelBank.build(encoder, names, templates or None)
    bank.save(output, overwrite=overwrite)
    terminal.say(f"{len(bank)} labels, {len(bank.templates)} template(s) -> {output}")
    return DONE


@dataclass(frozen=True)
class ClassifyRequest:
    """What was asked of ``classify``; see :class:`runtime.Classifier` for what is not said here.

    Attributes:
        files: as typed; ``-`` is standard input.
        labels: as typed; see :func:`labels_of`.
        top_k: labels of a file or window; None for what suits the format.
        timeline: classify each window instead of the whole file.
        hop: seconds between windows of the timeline.
        format: ``table``, ``json``, or one of :mod:`clap_export.timelines`.
        output: file or folder that the timelines go to, or None for standard output.
        plot: file or folder that pictures go to, or None for none.
        overwrite: replace files that are there.
        windows: name of a policy, or None for the bundle's.
        max_seconds: longest recording, or None for any length.
        public_key: that must have signed the bundle.
    """

    bundle: Path
    files: tuple[str, ...]
    labels: str
    templates: tuple[str, ...]
    top_k: int | None
    scores: Any
    threshold: float | None
    min_similarity: float | None
    timeline: bool
    hop: float | None
    format: str
    output: Path | None
    plot: Path | None
    overwrite: bool
    batch_size: int | None
    provider: str | None
    threads: int | None
    windows: str | None
    max_seconds: float | None
    public_key: Path | None

    def __post_init__(self) -> None:
        for_timelines = {
            "--hop": self.hop, "--output": self.output, "--plot": self.plot,
            f"--format {self.format}": self.format not in WHOLE or None,
        }  # fmt: skip
        missing = [name for name, value in for_timelines.items() if value is not None]
        if missing and not self.timeline:
            raise click.UsageError(f"{missing[0]} needs --timeline.")
        if self.files.count(STDIN) > 1:
            raise click.UsageError("- is standard input, which can be read once.")

    def classifier(self) -> Classifier:
        """The classifier that was asked for."""
        from runtime import Bundle, Classifier

        # A bundle that is opened with a key compares hashes by itself.
        signed = self.public_key and Bundle(self.bundle, public_key=self.public_key)
        return Classifier(
            signed or self.bundle, labels_of(self.labels), templates=self.templates or None,
            scores=self.scores, threshold=self.threshold, min_similarity=self.min_similarity,
            top_k=self.top_k or TOP_K, providers=self.provider and (self.provider,),
            threads=self.threads, batch_size=self.batch_size, windows=self.windows,
            max_seconds=self.max_seconds,
        )  # fmt: skip


@click.command()
@click.argument("bundle", type=PATH)
@click.argument("files", type=str, nargs=-1, required=True)
@click.option(
    "--labels", required=True,
    help="Names between commas (a,b,c); or a file of them: @FILE, or what ends in .txt (one a "
    "line), .csv, or .npz (a saved bank or head). Told by this text alone, never by what is on the "
    "disk.",
)  # fmt: skip
@options.template_option
@click.option(
    "--top-k", type=click.IntRange(1),
    help="Best labels.  [default: 3; of audacity, raven and webvtt 1]",
)  # fmt: skip
@options.ranking_options
@click.option("--timeline", is_flag=True, help="Classify each window instead of the whole file.")
@click.option("--hop", type=float, help="Seconds between windows of the timeline.")
@click.option(
    "--format", type=click.Choice(FORMATS), default="table", show_default=True,
    help="Of what is printed. With --timeline also a row for each window and label (csv, parquet), "
    "or regions in which a label is heard: an Audacity label track, a Raven selection table, "
    "WebVTT subtitles.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=PATH,
    help="File to write the timeline to, or folder, with one file for each recording.",
)  # fmt: skip
@click.option(
    "--plot", type=PATH,
    help="Draw the timeline below the spectrogram: a file (.png, .svg, .pdf), or folder.",
)  # fmt: skip
@options.overwrite_option
@options.batch_size_option
@click.option(
    "--windows", metavar="NAME",
    help="Which windows of a file are heard and how they are pooled: all, head:N, middle:N, "
    "spaced:N, loudest, rare, back-to-back, past-intro:N, faithful.  [default: the bundle's own]",
)  # fmt: skip
@options.max_seconds_option
@options.public_key_option
@options.provider_option
@options.threads_option
@options.json_option
def classify(as_json: bool, **given: Any) -> int:
    """Classify FILES with any labels; - is a recording on standard input.

    A file that cannot be used is reported in its place, and the exit code is 2 after all others are
    done. --json is short for --format json: one object per file and line.
    """
    if as_json and given["format"] not in WHOLE:
        raise click.UsageError(f"--json and --format {given['format']}: choose one of them.")
    if as_json:
        given["format"] = "json"
    request = ClassifyRequest(**given)
    from clap_export.cli import results, timelines

    wanted = timelines.Wanted(
        request.files, source, request.hop, request.top_k, request.format, request.output,
        request.plot, request.overwrite,
    )  # fmt: skip
    places = timelines.places(wanted)
    with request.classifier() as classifier:
        _warn_of_one(classifier)
        if request.timeline:
            policy = classifier.encoder.policy
            policy.timeline(classifier.manifest.audio, request.hop)  # says now what is no hop
            if request.windows is not None:
                terminal.warn(policy.streamed)
            failed = timelines.run(classifier, wanted, places)
        else:
            found = _whole(classifier, request)
            as_lines = request.format == "json"
            failed = results.print_json(found) if as_lines else results.print_table(found)
    return BAD_INPUT if failed else DONE


def labels_of(text: str) -> LabelBank | Sequence[str]:
    """What ``--labels`` means, by its text alone: a bank, or names.

    ``@FILE`` is a file, whatever its name; so is what ends in ``.txt``, ``.csv`` or ``.npz``. All
    else is names between commas, which may hold slashes or be names of files.
    """
    path = file_of(text)
    if path is None:
        return [options.TEXT.convert(n.strip(), None, None) for n in text.split(",") if n.strip()]
    if path.suffix.lower() != ".npz":
        return names_in(path)
    from runtime import LabelBank

    return LabelBank.load(path)


def file_of(text: str) -> Path | None:
    """The file that ``--labels`` names; None where it is the names themselves."""
    is_file = text.startswith("@") or Path(text).suffix.lower() in LABEL_FILES
    return Path(text.removeprefix("@")) if is_file else None


def names_in(path: Path) -> tuple[str, ...]:
    """Names in a file, one a line; of a ``.csv`` the cells of its only row or column.

    Raises:
        LabelError: no such file, or it is not a list of names.
    """
    from runtime.errors import LabelError
    from runtime.labels import read_labels

    names = read_labels(path)
    if path.suffix.lower() == ".csv":
        return _cells(path, names)
    if len(names) == 1 and "," in names[0]:
        raise LabelError(
            f"'{path}' holds one label, {names[0]!r}: write one label a line, or give names "
            "between commas as --labels a,b,c."
        )
    return names


def _cells(path: Path, lines: tuple[str, ...]) -> tuple[str, ...]:
    import csv

    from runtime.errors import LabelError

    try:
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, strict=True)]
    except csv.Error as error:
        raise LabelError(f"'{path}' is no CSV file ({error}).") from error
    if len(rows) > 1 and any(len(row) != 1 for row in rows):
        raise LabelError(
            f"'{path}' has several rows and columns: give labels in one row, or in one column."
        )
    names = tuple(name for row in rows for name in row if name)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise LabelError(f"'{path}': {', '.join(map(repr, twice))} listed twice.")
    return names


def _warn_of_one(classifier: Classifier) -> None:
    if len(classifier.labels) == 1 and classifier.scores == "softmax":
        terminal.warn(
            f"Warning: softmax over one label, {classifier.labels[0]!r}, is always 1.000. Name "
            "several between commas, or a file of them as @FILE."
        )


def _whole(classifier: Classifier, request: ClassifyRequest) -> Iterator[Outcome]:
    """The predictions of each file, or why there are none."""
    from clap_export.cli.results import Outcome

    unread: dict[str, ClapError] = {}

    def sources() -> Iterator[Path | BinaryIO | bytes]:
        for file in request.files:
            try:
                yield source(file)
            except ClapError as error:  # raised here it would end the others too
                unread[file] = error
                yield b""

    with closing(classifier.predict_many(sources(), batch_size=request.batch_size)) as found:
        for file, result in zip(request.files, found, strict=True):
            error = unread.get(file) or result.error
            yield Outcome(file, error or result.predictions, result.warning)


def source(file: str) -> Path | BinaryIO:
    """A file, or standard input."""
    if file != STDIN:
        return Path(file)
    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] - closed by whoever started the command
        raise ClapError("standard input is closed: there is no recording in it.")
    return sys.stdin.buffer
