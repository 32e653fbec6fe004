"""What the ``ffmpeg`` program writes to its standard error, as far as it matters here."""

from __future__ import annotations

import re

from runtime.plain_text import printable

LONGEST = 1 << 12  # bytes of a line that are looked at
MOST = 120  # characters of a message that are quoted
# "[aac @ 0x5581] [error] message": the component is left out where the program itself speaks.
LINE = re.compile(rb"(?:\[[^\]]*\] )*\[(verbose|info|warning|error|fatal|panic)\] (.*)", re.DOTALL)
DURATION = re.compile(rb"  Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?),")
STREAM = re.compile(rb"  Stream #0:\d+.*: (Video|Audio)(?!.*\(attached pic\))")
SHAPE = re.compile(rb"tb:\S+ samplefmt:\S+ samplerate:(\d+) chlayout:(.+)")

MUXER = b"monotonically increasing dts"  # it would have times that only increase; none are written


class Log:
    """Takes the bytes as they come; holds a few lines of them.

    Attributes:
        error: the first message of an error.
        guessed: the format was only guessed, from bytes that might be anything.
        shapes: rates and channel layouts of the sound, where these change.
    """

    def __init__(self) -> None:
        self._rest = b""
        self.error: str | None = None
        self.guessed = False
        self.shapes: list[tuple[int, str]] = []
        self._seconds: float | None = None
        self._estimated = self._output = False
        self._streams = 0

    @property
    def seconds(self) -> float | None:
        """How long the sound is by the file's header; None where that is a guess, or other streams
        may be longer."""
        return None if self._estimated or self._streams != 1 else self._seconds

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:LONGEST]
        for line in lines:
            self._take(line[:LONGEST].rstrip(b"\r"))

    def _take(self, line: bytes) -> None:
        found = LINE.fullmatch(line)
        if not found:
            return
        level, message = found.groups()
        if level in (b"error", b"fatal", b"panic"):
            if MUXER not in message:
                self.error = self.error or _plain(message)
        elif level == b"warning":
            self._estimated |= b"Estimating duration from bitrate" in message
            self.guessed |= b"misdetection possible" in message
        elif shape := SHAPE.search(message):
            new = int(shape[1]), printable(shape[2].decode("ascii", "replace"))[:MOST]
            if not self.shapes or (self.shapes[-1] != new and len(self.shapes) < 3):
                self.shapes.append(new)
        elif level == b"info":
            self._take_info(message)

    def _take_info(self, message: bytes) -> None:
        self._output |= message.startswith((b"Output #", b"Stream mapping:"))
        if self._output:
            return
        if self._seconds is None and (found := DURATION.match(message)):
            hours, minutes, seconds = (float(group) for group in found.groups())
            self._seconds = 3600 * hours + 60 * minutes + seconds
        self._streams += STREAM.match(message) is not None


def _plain(message: bytes) -> str:
    text = printable(message.decode("utf-8", "replace")).strip().rstrip(".")
    # The name that the file was given under is of no interest.
    text = re.sub(r"(?:file:|pipe:)\S*: ", "", text)
    if "matches no streams" in text:
        return "it holds no sound"
    if text.startswith("Format not on whitelist"):
        return "it is of a format without sound, or that names other files"
    return text if len(text) <= MOST else text[: MOST - 1] + "…"
