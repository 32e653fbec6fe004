"""What ``classify --timeline`` does: windows to the terminal, to files, and into pictures."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from clap_export.cli import results
from clap_export.command import terminal
from clap_export.timelines import parquet
from clap_export.timelines.formats import TEXTS
from clap_export.timelines.timeline import Band, Timeline
from runtime import ClapError, Classifier, Segment, audio
from runtime.errors import AudioError, AudioWarning
from runtime.files import writing

if TYPE_CHECKING:
    from clap_export.timelines.picture import Picture

STDIN = "-"
TOP_K = 3
PAINTED = 64  # best labels of a window that a picture takes note of
PICTURES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Wanted:
    """What was asked for.

    Attributes:
        files: as typed.
        source: what a file is to a classifier; it may raise.
        hop: seconds between windows, or None for the bundle's.
        top_k: labels of a window; None for what suits the format.
        format: ``table``, or one of :mod:`clap_export.timelines`.
        output: file or folder that the timelines go to, or None for standard output.
        plot: file or folder that pictures go to, or None for none.
        overwrite: replace files that are there.
    """

    files: tuple[str, ...]
    source: Callable[[str], Path | BinaryIO]
    hop: float | None
    top_k: int | None
    format: str
    output: Path | None
    plot: Path | None
    overwrite: bool


@dataclass(frozen=True)
class Places:
    """Where the results of each file go.

    Attributes:
        texts: a path for each file, one for all of them, or none for standard output.
        pictures: a path for each file, or none.
    """

    texts: tuple[Path, ...]
    pictures: tuple[Path, ...]


def places(request: Wanted) -> Places:
    """Where results go; what cannot be is refused before any work.

    Raises:
        UsageError: several files cannot go where they should, or two to the same place.
        ClapError: a file exists, a folder cannot be made, or a package is missing.
    """
    kind = TEXTS.get(request.format)
    if request.output is None and request.format == "parquet":
        raise click.UsageError("--format parquet needs --output: it is not for a terminal.")
    if request.output is not None and request.format == "table":
        raise click.UsageError("--output needs a --format of files, such as json or csv.")
    several = len(request.files) > 1
    joined = kind is None or kind.joined
    if several and not joined and request.output is None:
        raise click.UsageError(
            f"--format {request.format} holds one recording: give --output FOLDER for "
            f"{len(request.files)} of them."
        )
    if request.format == "parquet":
        parquet.pyarrow()
    suffix = kind.suffix if kind is not None else parquet.SUFFIX
    out = request.output
    # Several recordings share a file when its name has an ending; else it is a folder.
    if out is not None and joined and out.suffix and not out.is_dir():
        texts: tuple[Path, ...] = (out,)
    else:
        texts = _places(request, out, suffix)
    pictures = _places(request, request.plot, PICTURES[0])
    if pictures:
        from clap_export import figure

        figure.new(1, 1)  # what is missing shows now
        for path in pictures:
            if path.suffix not in PICTURES:
                raise click.UsageError(f"--plot {path}: its name ends in {', '.join(PICTURES)}.")
    there = [path for path in (*texts, *pictures) if path.exists()]
    if there and not request.overwrite:
        raise ClapError(f"'{there[0]}' exists: choose another name, or add --overwrite.")
    for folder in {path.parent for path in (*texts, *pictures)}:
        _make(folder)
    return Places(texts, pictures)


def _places(request: Wanted, out: Path | None, suffix: str) -> tuple[Path, ...]:
    """A path for each file: in a folder, or of a single file the one that was given."""
    if out is None:
        return ()
    if len(request.files) == 1 and not out.is_dir():
        return (out,)
    names = ["standard input" if f == STDIN else Path(f).name for f in request.files]
    for name in names:
        if names.count(name) > 1:
            raise click.UsageError(
                f"two recordings are called '{name}', and would be one file in '{out}': "
                "classify them one after the other."
            )
    return tuple(out / f"{name}{suffix}" for name in names)


def _make(folder: Path) -> None:
    """A folder for results, inside one that is there."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise ClapError(
            f"'{folder}' cannot be a folder of results ({error.strerror or error})."
        ) from error


def run(classifier: Classifier, request: Wanted, where: Places) -> int:
    """Classify the windows of all files; returns the number of files that failed."""
    job = _Job(classifier, request, where)
    if request.format == "table":
        return results.print_timelines(job.timelines())
    job.write()
    return job.failed


class _Job:
    def __init__(self, classifier: Classifier, request: Wanted, where: Places) -> None:
        self._classifier, self._request, self._where = classifier, request, where
        kind = TEXTS.get(request.format)
        self._top_k = request.top_k or (kind.top_k if kind is not None else TOP_K)
        # Tables and JSON say themselves what is wrong.
        self._quiet = request.format in ("table", "json")
        self.failed = self.used = 0

    def write(self) -> None:
        """Write all timelines where they should go."""
        request, where = self._request, self._where.texts
        kind = TEXTS.get(request.format)
        if not where:
            for piece in kind.text(self.timelines()) if kind is not None else ():
                terminal.put(piece)
            return
        save = kind.write if kind is not None else parquet.write
        if len(where) < len(request.files):
            with suppress(_NothingError), writing(where[0], overwrite=request.overwrite) as part:
                save(self.timelines(), part)
                if not self.used:
                    raise _NothingError
            return
        for timeline, path in zip(self.timelines(), where, strict=True):
            with suppress(_NothingError), writing(path, overwrite=request.overwrite) as part:
                save([timeline], part)
                if not timeline.count:
                    raise _NothingError

    def timelines(self) -> Iterator[Timeline]:
        """The timeline of each file, which is used up before the next is asked for."""
        for i, file in enumerate(self._request.files):
            picture = self._picture() if self._where.pictures else None
            timeline = Timeline(file, self._band(file), self._segments(file, picture))
            yield timeline
            self.failed += timeline.error is not None
            self.used += timeline.count > 0
            if picture is not None and timeline.count:
                picture.draw(timeline, self._where.pictures[i], self._request.overwrite)
            if not self._quiet:
                _report(timeline)

    def _segments(self, file: str, picture: Picture | None) -> Iterator[Segment]:
        given, hop, top_k = self._request.source(file), self._request.hop, self._top_k
        if picture is None:
            yield from self._classifier.segments(given, hop=hop, top_k=top_k)
            return
        encoder = self._classifier.encoder
        spec = encoder.manifest.audio
        with audio.Stream(
            given, rate=spec.sample_rate, max_seconds=encoder.max_seconds,
            keep_from=spec.window_samples / spec.sample_rate,
        ) as stream:  # fmt: skip
            heard = audio.Chunks(picture.hear(stream.blocks()), spec.sample_rate)
            painted = max(top_k, min(len(self._classifier.labels), PAINTED))
            with closing(self._classifier.segments(heard, hop=hop, top_k=painted)) as found:
                for segment in picture.see(found):
                    yield replace(segment, predictions=segment.predictions[:top_k])
            if stream.warning is not None:
                warnings.warn(AudioWarning(stream.warning), stacklevel=1)

    def _picture(self) -> Picture:
        from clap_export.timelines.picture import Picture

        spec = self._classifier.manifest.audio
        labels = len(self._classifier.labels)
        low, high = spec.mel.f_min, spec.mel.f_max
        return Picture(spec.sample_rate, low, high, labels, self._classifier.scores)

    def _band(self, file: str) -> Band:
        """What the model listens to, and the file can hold."""
        spec = self._classifier.manifest.audio
        high = min(spec.mel.f_max, spec.sample_rate / 2)
        if self._request.format == "raven" and file != STDIN:
            with suppress(AudioError), audio.Stream(file) as stream:
                next(stream.blocks(), None)
                high = min(high, (stream.rate or spec.sample_rate) / 2)
        return Band(spec.mel.f_min, high)


class _NothingError(Exception):
    """There is nothing to be written."""


def _report(timeline: Timeline) -> None:
    if timeline.warning is not None:
        terminal.warn(f"Warning: {timeline.warning}")
    if timeline.error is not None:
        end = f" What was found up to {timeline.end:.1f} s is kept." if timeline.count else ""
        terminal.warn(f"Error: {timeline.error}{end}")
