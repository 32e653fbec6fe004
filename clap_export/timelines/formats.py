"""What timelines are written as. Every text of a user is data there, whatever it looks like."""

from __future__ import annotations

import csv as csv_
import io
import json as json_
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from clap_export.timelines.regions import regions
from clap_export.timelines.timeline import Timeline
from runtime import schema
from runtime.plain_text import printable

# A spreadsheet takes a cell that begins so for a formula, which may run programs.
FORMULA = tuple("=+-@")
COLUMNS = ("file", "start", "end", "label", "rank", "score", "similarity")
RAVEN = (
    "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)",
    "High Freq (Hz)", "Annotation", "Score", "Begin File",
)  # fmt: skip


def json(timeline: Timeline) -> Iterator[str]:
    """One object on one line, written as its windows come."""
    yield f'{{"file": {json_.dumps(timeline.file)}'
    for segment in timeline:
        yield ', "segments": [' if timeline.count == 1 else ", "
        yield json_.dumps(schema.to_plain(segment))
    if timeline.count:
        yield "]"
    if timeline.error is not None:
        yield f', "error": {json_.dumps(str(timeline.error))}'
    if timeline.warning is not None:
        yield f', "warning": {json_.dumps(timeline.warning)}'
    yield "}\n"


def csv(timeline: Timeline) -> Iterator[str]:
    """A row for each window and label, best first."""
    file = cell(timeline.file)
    for segment in timeline:
        text = io.StringIO()
        rows = csv_.writer(text, lineterminator="\n")
        for rank, p in enumerate(segment.predictions, 1):
            times = f"{segment.start:.6f}", f"{segment.end:.6f}"
            figures = f"{p.score:.6g}", f"{p.similarity:.6g}"
            rows.writerow((file, *times, cell(p.label), rank, *figures))
        yield text.getvalue()


def cell(text: str) -> str:
    """A text for a spreadsheet: on one line, and never a formula."""
    shown = printable(text)
    return f"'{shown}" if shown.startswith(FORMULA) else shown


def audacity(timeline: Timeline) -> Iterator[str]:
    """A label track: start, end and text between tabs."""
    for region in regions(timeline):
        yield f"{region.start:.6f}\t{region.end:.6f}\t{printable(region.label)}\n"


def raven(timeline: Timeline) -> Iterator[str]:
    """A selection table."""
    name = printable(Path(timeline.file).name)
    for number, region in enumerate(regions(timeline), 1):
        times = f"{region.start:.6f}", f"{region.end:.6f}"
        box = f"{timeline.band.low:.1f}", f"{timeline.band.high:.1f}"
        said = printable(region.label), f"{region.score:.4f}", name
        yield "\t".join((str(number), "Spectrogram 1", "1", *times, *box, *said)) + "\n"


def webvtt(timeline: Timeline) -> Iterator[str]:
    """Subtitles; cues in the order of their starts."""
    for region in regions(timeline):
        start = round(1000 * region.start)
        end = max(round(1000 * region.end), start + 1)
        text = printable(region.label)
        for character, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
            text = text.replace(character, name)
        yield f"\n{_clock(start)} --> {_clock(end)}\n{text} ({region.score:.2f})\n"


def _clock(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:03d}"


@dataclass(frozen=True)
class Format:
    """A kind of text file.

    Attributes:
        suffix: of its files.
        head: how it begins.
        body: what a timeline adds, piece by piece.
        top_k: labels of a window when nobody asked for a number. One, where windows become
            regions: what is heard most at a time.
        joined: several recordings may share a file.
    """

    suffix: str
    head: str
    body: Callable[[Timeline], Iterator[str]]
    top_k: int
    joined: bool

    def text(self, timelines: Iterable[Timeline]) -> Iterator[str]:
        """All of a file, piece by piece."""
        yield self.head
        for timeline in timelines:
            yield from self.body(timeline)

    def write(self, timelines: Iterable[Timeline], path: Path) -> None:
        """Write a file.

        Raises:
            OSError: it cannot be written.
        """
        with path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(self.text(timelines))


TEXTS = {
    "json": Format(".json", "", json, 3, True),
    "csv": Format(".csv", ",".join(COLUMNS) + "\n", csv, 3, True),
    "audacity": Format(".txt", "", audacity, 1, False),
    "raven": Format(".selections.txt", "\t".join(RAVEN) + "\n", raven, 1, False),
    "webvtt": Format(".vtt", "WEBVTT\n", webvtt, 1, False),
}
