"""What timelines are written as."""

from __future__ import annotations

import csv as csv_
import io
import json as json_
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from clap_export.timelines import marks
from clap_export.timelines.regions import regions
from clap_export.timelines.timeline import Timeline
from runtime import Segment, schema
from runtime.plain_text import printable

COLUMNS = ("file", "start", "end", "label", "rank", "score", "similarity")
HEAD = ",".join(COLUMNS) + "\n"


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
    for segment in timeline:
        yield csv_rows(timeline.file, segment)


def csv_rows(file: str, segment: Segment) -> str:
    """The rows of a window."""
    text = io.StringIO()
    rows = csv_.writer(text, lineterminator="\n")
    for rank, p in enumerate(segment.predictions, 1):
        times = f"{segment.start:.6f}", f"{segment.end:.6f}"
        figures = f"{p.score:.6g}", f"{p.similarity:.6g}"
        rows.writerow((marks.cell(file), *times, marks.cell(p.label), rank, *figures))
    return text.getvalue()


def audacity(timeline: Timeline) -> Iterator[str]:
    """A label track."""
    yield from map(marks.audacity, regions(timeline))


def raven(timeline: Timeline) -> Iterator[str]:
    """A selection table."""
    name = printable(Path(timeline.file).name)
    for number, region in enumerate(regions(timeline), 1):
        yield marks.raven(number, region, timeline.band, name)


def webvtt(timeline: Timeline) -> Iterator[str]:
    """Subtitles; cues in the order of their starts."""
    yield from map(marks.webvtt, regions(timeline))


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
    "csv": Format(".csv", HEAD, csv, 3, True),
    "audacity": Format(".txt", "", audacity, 1, False),
    "raven": Format(".selections.txt", "\t".join(marks.RAVEN) + "\n", raven, 1, False),
    "webvtt": Format(".vtt", "WEBVTT\n", webvtt, 1, False),
}
