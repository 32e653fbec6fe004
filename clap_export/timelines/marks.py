"""A region as a line of a text file. Every text of a user is data there, whatever it looks like."""

from __future__ import annotations

from clap_export.timelines.regions import Region
from clap_export.timelines.timeline import Band
from runtime.plain_text import printable

# A spreadsheet takes a cell that begins so for a formula, which may run programs.
FORMULA = tuple("=+-@")
RAVEN = (
    "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)",
    "High Freq (Hz)", "Annotation", "Score", "Begin File",
)  # fmt: skip


def cell(text: str) -> str:
    """A text for a spreadsheet: on one line, and never a formula."""
    shown = printable(text)
    return f"'{shown}" if shown.startswith(FORMULA) else shown


def audacity(region: Region) -> str:
    """A line of a label track: start, end and text between tabs."""
    return f"{region.start:.6f}\t{region.end:.6f}\t{printable(region.label)}\n"


def raven(number: int, region: Region, band: Band, file: str) -> str:
    """A row of a selection table, counted from 1; ``file`` is a name that can be printed."""
    times = f"{region.start:.6f}", f"{region.end:.6f}"
    box = f"{band.low:.1f}", f"{band.high:.1f}"
    said = printable(region.label), f"{region.score:.4f}", file
    return "\t".join((str(number), "Spectrogram 1", "1", *times, *box, *said)) + "\n"


def webvtt(region: Region) -> str:
    """A cue of at least a millisecond."""
    start = round(1000 * region.start)
    end = max(round(1000 * region.end), start + 1)
    text = printable(region.label)
    for character, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, name)
    return f"\n{_clock(start)} --> {_clock(end)}\n{text} ({region.score:.2f})\n"


def _clock(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:03d}"
