"""What is heard in a stream as files that grow while it lasts: a row as soon as it is known."""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from clap_export.timelines import formats, marks, parquet
from clap_export.timelines.cues import Cues
from clap_export.timelines.regions import Region
from clap_export.timelines.timeline import Band
from runtime import Event, Events, Segment, schema
from runtime.plain_text import printable

COLUMNS = ("start", "end", "label", "peak", "peak_at", "at")


@dataclass(frozen=True)
class Heard:
    """What a journal is about.

    Attributes:
        name: of the input, without secrets.
        band: of it.
    """

    name: str
    band: Band


class Journal(ABC):
    """Text of what is told, piece by piece; in each piece whole lines."""

    def __init__(self, heard: Heard) -> None:
        self.heard = heard

    @property
    def head(self) -> str:
        """How the file begins."""
        return ""

    def segment(self, segment: Segment, events: Events) -> str:
        """A window was heard, and the events know of it."""
        return ""

    @abstractmethod
    def event(self, event: Event, at: str | None) -> str:
        """An event began or ended; ``at`` is the time of day of its start, of live inputs."""

    def rest(self) -> str:
        """All is over."""
        return ""


class EventLines(Journal):
    """A JSON object a line, as on standard output."""

    def event(self, event: Event, at: str | None) -> str:
        """Of both phases."""
        return json.dumps(told(event, at)) + "\n"


class EventCsv(Journal):
    """A row for each event that ended."""

    @property
    def head(self) -> str:
        """Names of the columns."""
        return ",".join(COLUMNS) + "\n"

    def event(self, event: Event, at: str | None) -> str:
        """When it is over."""
        if event.phase != "ended":
            return ""
        text = io.StringIO()
        times = f"{event.start:.6f}", f"{event.end:.6f}"
        peak = f"{event.peak:.6g}", f"{event.peak_at:.6f}"
        row = (*times, marks.cell(event.label), *peak, at or "")
        csv.writer(text, lineterminator="\n").writerow(row)
        return text.getvalue()


class EventLabels(Journal):
    """A label track of Audacity, which sorts it."""

    def event(self, event: Event, at: str | None) -> str:
        """When it is over."""
        return marks.audacity(region(event)) if event.phase == "ended" else ""


class EventSelections(Journal):
    """A selection table of Raven."""

    def __init__(self, heard: Heard) -> None:
        super().__init__(heard)
        self._count = 0

    @property
    def head(self) -> str:
        """Names of the columns."""
        return "\t".join(marks.RAVEN) + "\n"

    def event(self, event: Event, at: str | None) -> str:
        """When it is over."""
        if event.phase != "ended":
            return ""
        self._count += 1
        name = printable(Path(self.heard.name).name)
        return marks.raven(self._count, region(event), self.heard.band, name)


class EventCues(Journal):
    """WebVTT, whose cues are in the order of their starts."""

    def __init__(self, heard: Heard) -> None:
        super().__init__(heard)
        self._cues = Cues()
        self._before: tuple[float, float, list[Event]] | None = None

    @property
    def head(self) -> str:
        """What makes it a file of subtitles."""
        return "WEBVTT\n"

    def segment(self, segment: Segment, events: Events) -> str:
        """Cues that nothing can come before any more."""
        # As it was at the window before: what has ended since then is told behind this one.
        found = [] if self._before is None else self._cues.ready(*self._before)
        self._before = segment.end, events.budding, events.open
        return "".join(map(marks.webvtt, found))

    def event(self, event: Event, at: str | None) -> str:
        """It waits for those that began before it."""
        if event.phase == "ended":
            self._cues.ended(event)
        return ""

    def rest(self) -> str:
        """Those that waited."""
        return "".join(map(marks.webvtt, self._cues.rest()))


class SegmentLines(Journal):
    """A JSON object for each window."""

    def segment(self, segment: Segment, events: Events) -> str:
        """As on standard output."""
        return json.dumps({"type": "segment", **schema.to_plain(segment)}) + "\n"

    def event(self, event: Event, at: str | None) -> str:
        """Nothing."""
        return ""


class SegmentCsv(Journal):
    """Rows as ``classify --timeline`` writes them."""

    @property
    def head(self) -> str:
        """Names of the columns."""
        return formats.HEAD

    def segment(self, segment: Segment, events: Events) -> str:
        """A row for each label."""
        return formats.csv_rows(self.heard.name, segment)

    def event(self, event: Event, at: str | None) -> str:
        """Nothing."""
        return ""


class EventTable:
    """A Parquet file of events that ended, which can be read when it is closed."""

    columns: ClassVar[dict[str, str]] = {
        "start": "number", "end": "number", "label": "text", "peak": "number", "peak_at": "number",
        "at": "time",
    }  # fmt: skip

    def __init__(self, heard: Heard, path: Path) -> None:
        self.heard, self.table = heard, parquet.Table(path, self.columns)

    def segment(self, segment: Segment) -> None:
        """Nothing."""

    def event(self, event: Event, at: str | None) -> None:
        """When it is over."""
        if event.phase == "ended":
            moment = None if at is None else datetime.fromisoformat(at.replace("Z", "+00:00"))
            times = event.start, event.end
            self.table.add((*times, event.label, event.peak, event.peak_at, moment))


class SegmentTable(EventTable):
    """A Parquet file of windows."""

    columns: ClassVar[dict[str, str]] = parquet.WINDOWS

    def segment(self, segment: Segment) -> None:
        """A row for each label."""
        for row in parquet.rows(self.heard.name, segment):
            self.table.add(row)

    def event(self, event: Event, at: str | None) -> None:
        """Nothing."""


# By the endings of files' names.
EVENTS: dict[str, Callable[[Heard], Journal]] = {
    ".csv": EventCsv, ".jsonl": EventLines, ".selections.txt": EventSelections,
    ".txt": EventLabels, ".vtt": EventCues,
}  # fmt: skip
SEGMENTS: dict[str, Callable[[Heard], Journal]] = {".csv": SegmentCsv, ".jsonl": SegmentLines}


def ending(path: Path, of: Sequence[str]) -> str | None:
    """Which of some endings a name has; the longest one."""
    name = path.name.lower()
    return max((each for each in of if name.endswith(each)), key=len, default=None)


def told(event: Event, at: str | None) -> dict[str, Any]:
    """An event as JSON has it."""
    found: dict[str, Any] = {"type": "event", **asdict(event)}
    return found if at is None else {**found, "at": at}


def region(event: Event) -> Region:
    """An event as other programs know it."""
    return Region(event.label, event.start, event.end, event.peak)
