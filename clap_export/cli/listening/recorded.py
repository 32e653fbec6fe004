"""Events and windows in files, beside what is printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import click

from clap_export.cli.listening.outputs import Summary
from clap_export.command import terminal
from clap_export.timelines import parquet
from clap_export.timelines.journals import (
    EVENTS,
    SEGMENTS,
    EventTable,
    Heard,
    Journal,
    SegmentTable,
    ending,
)
from runtime import ClapError, Event, Events, Segment, files

BREAKS = ("input", "signal")  # ends of a stream that are no errors


class File(Protocol):
    """An open file of what is heard."""

    def segment(self, segment: Segment, events: Events) -> None:
        """A window was heard."""
        ...

    def event(self, event: Event, at: str | None) -> None:
        """An event began or ended."""
        ...

    def rest(self) -> None:
        """All is over."""
        ...


class Recorded:
    """A file; see :class:`clap_export.cli.listening.outputs.Output`.

    It is made when the first sound comes. When it cannot be written any more, that is said once,
    and the sound is heard on for the other outputs.

    Args:
        path: of it.
        opened: opens it.

    Attributes:
        failed: it could not be written.
    """

    def __init__(self, path: Path, opened: Callable[[ExitStack, Heard], File]) -> None:
        self._path, self._opened = path, opened
        self._file: File | None = None
        self._stack = ExitStack()
        self._heard: Heard | None = None
        self.failed = False

    def begin(self, heard: Heard) -> None:
        """Makes the file."""

        def work() -> None:
            self._file = self._opened(self._stack, heard)

        self._try(work)

    def segment(self, segment: Segment, events: Events) -> None:
        """A row, of files of windows."""
        if (file := self._file) is not None:
            self._try(lambda: file.segment(segment, events))

    def event(self, event: Event, at: str | None) -> None:
        """A row, of files of events."""
        if (file := self._file) is not None:
            self._try(lambda: file.event(event, at))

    def gap(self, start: float, seconds: float) -> None:
        """Nothing: the times say it."""

    def exchanged(self, labels: int, start: float) -> None:
        """Nothing."""

    def end(self, summary: Summary) -> None:
        """The file is whole."""
        if (file := self._file) is not None:
            self._try(file.rest)
            self._try(self._stack.close)
            self._file = None

    def close(self) -> None:
        """Let go of it, whatever happened."""
        self._stack.close()

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (OSError, ClapError) as error:
            self.failed, self._file = True, None
            said = error if isinstance(error, ClapError) else _unwritable(self._path, error)
            terminal.warn(f"Error: {said}")
            with ExitStack() as rest:  # what it raises has been said
                rest.push(lambda *_: True)
                self._stack.__exit__(type(error), error, error.__traceback__)


class Text:
    """A text file that grows."""

    def __init__(self, file: files.Growing, journal: Journal) -> None:
        self._file, self._journal = file, journal
        self._add(journal.head)

    def segment(self, segment: Segment, events: Events) -> None:
        """What the journal says of it."""
        self._add(self._journal.segment(segment, events))

    def event(self, event: Event, at: str | None) -> None:
        """What the journal says of it."""
        self._add(self._journal.event(event, at))

    def rest(self) -> None:
        """What the journal has kept."""
        self._add(self._journal.rest())

    def _add(self, text: str) -> None:
        if text:
            self._file.add(text.encode("utf-8"))


class Rows:
    """A Parquet file, which gets its name when it is whole."""

    def __init__(self, made: EventTable) -> None:
        self._made = made

    def segment(self, segment: Segment, events: Events) -> None:
        """Rows of a file of windows."""
        self._made.segment(segment)

    def event(self, event: Event, at: str | None) -> None:
        """A row of a file of events."""
        self._made.event(event, at)

    def rest(self) -> None:
        """Nothing: its place is taken when it is closed."""


def recorded(path: Path, windows: bool, overwrite: bool) -> Recorded:
    """A file to write what is heard to, of the kind that its name's ending says.

    Args:
        path: of it.
        windows: of the windows' scores, not of the events.
        overwrite: replace one that is there.

    Raises:
        click.UsageError: an ending that is none of these.
        ClapError: it exists, another process writes it, or pyarrow is not installed.
    """
    texts = SEGMENTS if windows else EVENTS
    kind = ending(path, (*texts, parquet.SUFFIX))
    if kind is None:
        option = "--segments-output" if windows else "--output"
        raise click.UsageError(
            f"{option} '{path}': its name ends in one of {', '.join((*texts, parquet.SUFFIX))}."
        )
    if path.exists() and not overwrite:
        raise ClapError(f"'{path}' exists: choose another name, or add --overwrite.")
    files.check_unused(path)

    def text(stack: ExitStack, heard: Heard) -> File:
        file = stack.enter_context(files.growing(path, overwrite=overwrite))
        return Text(file, texts[kind](heard))

    def table(stack: ExitStack, heard: Heard) -> File:
        part = stack.enter_context(files.writing(path, overwrite=overwrite))
        made = (SegmentTable if windows else EventTable)(heard, part)
        stack.enter_context(made.table)
        return Rows(made)

    if kind != parquet.SUFFIX:
        return Recorded(path, text)
    parquet.pyarrow()
    return Recorded(path, table)


def several(
    events: Sequence[Path], windows: Sequence[Path], overwrite: bool
) -> tuple[Recorded, ...]:
    """All files that were asked for.

    Raises:
        click.UsageError: two are the same, or see :func:`recorded`.
        ClapError: see :func:`recorded`.
    """
    places = [path.resolve() for path in (*events, *windows)]
    for path in places:
        if places.count(path) > 1:
            raise click.UsageError(f"'{path}' is to be written twice: give two names.")
    found = [recorded(path, False, overwrite) for path in events]
    return (*found, *(recorded(path, True, overwrite) for path in windows))


def _unwritable(path: Path, error: OSError) -> ClapError:
    return ClapError(
        f"'{path}' cannot be written any more ({error.strerror or error}); the sound is heard on."
    )
