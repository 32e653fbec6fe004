"""What can be listened to: standard input, files, microphones and addresses, as pieces of sound."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import click
import numpy as np

from runtime.audio import ffmpeg
from runtime.audio.rates import check_rate
from runtime.audio.stream import Stream
from runtime.audio.track import Undecodable
from runtime.errors import AudioError
from runtime.listening.backlog import Piece

STDIN = "-"
DEVICE = "device:"
ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
WAITING = 10.0  # seconds that may wait for a slow machine
FOREVER = 1e6  # seconds that a pipe may be silent: eleven days
READ = 1 << 16  # bytes at once, at most
Pcm = Literal["s16le", "f32le"]
TYPES = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}


class Input(Protocol):
    """A source of sound.

    Attributes:
        live: it goes on whether anybody listens or not, so what cannot be heard in time is lost.
        backlog: seconds that may wait for a slow machine.
        warning: what is wrong with it although it could be heard, or None; known in the end.
    """

    live: bool
    backlog: float
    warning: str | None

    def pieces(self) -> Generator[Piece]:
        """The sound, as it comes.

        Raises:
            AudioError: it cannot be heard, or no longer.
        """
        ...

    def stop(self) -> bool:
        """End :meth:`pieces`, from another thread; returns whether it will end by itself now."""
        ...


@dataclass(frozen=True)
class Format:
    """What is known of the input beforehand.

    Attributes:
        rate: in Hz, or None.
        channels: or None.
        pcm: samples without a header are of this type.
    """

    rate: int | None = None
    channels: int | None = None
    pcm: Pcm | None = None


def chosen(text: str, given: Format, reconnect: bool) -> Input:
    """The input that a text means, by the text alone.

    Args:
        text: ``-``, ``device:NAME``, an address (``rtsp://…``), or the name of a file.
        given: what was said of it.
        reconnect: open an address again when it ends.

    Raises:
        click.UsageError: options that do not go with it.
        AudioError: no such protocol, device or rate.
    """
    if not text:
        raise click.UsageError("--input is empty: name what to hear.")
    raw = given.pcm is not None or (text == STDIN and given.rate is not None)
    address = ADDRESS.match(text)
    if text.startswith(DEVICE):
        from clap_export.cli.listening.microphone import Microphone

        if given.pcm is not None:
            raise click.UsageError("--pcm is for samples on standard input or in a file.")
        return Microphone(text.removeprefix(DEVICE), given.rate, given.channels)
    if address:
        from clap_export.cli.listening.address import Address

        _refuse_format(given)
        return Address(text, reconnect=reconnect)
    if raw:
        if given.rate is None:
            raise click.UsageError("--pcm has no header that states its rate: add --rate.")
        rate = check_rate(given.rate, "the input")
        return Samples(text, rate, given.channels or 1, given.pcm or "s16le")
    _refuse_format(given)
    return Pipe() if text == STDIN else File(Path(text))


def _refuse_format(given: Format) -> None:
    if given != Format():
        raise click.UsageError(
            "--rate, --channels and --pcm are for raw samples and microphones: what has a header "
            "states its own. For raw samples in a file add --pcm."
        )


class Samples:
    """Raw PCM on standard input or in a file; see :class:`Input`.

    Args:
        name: of the file, or ``-``.
        rate: in Hz.
        channels: interleaved.
        pcm: type of the samples.
    """

    live, backlog = False, WAITING
    warning: str | None = None

    def __init__(self, name: str, rate: int, channels: int, pcm: Pcm) -> None:
        self._name, self._rate, self._channels = name, rate, channels
        self._type = TYPES[pcm]

    def pieces(self) -> Generator[Piece]:
        """The samples, as soon as they come."""
        frame = self._channels * self._type.itemsize
        rest = b""
        file = None if self._name == STDIN else _opened(Path(self._name))
        try:
            # Not through Python's buffers: those wait until they are full, and for their lock.
            number = _standard_input().fileno() if file is None else file.fileno()
            while data := _read(number):
                data = rest + data
                whole = len(data) // frame * frame
                rest = data[whole:]
                if whole:
                    samples = np.frombuffer(data, self._type, whole // self._type.itemsize)
                    yield Piece(samples.reshape(-1, self._channels).T, self._rate)
        finally:
            if file is not None:
                file.close()
        if rest:
            self.warning = "the input ends within a sample: check --channels and --pcm."

    def stop(self) -> bool:
        """A read that waits cannot be ended."""
        return False


class Pipe:
    """Standard input with a header: any container; see :class:`Input`."""

    live, backlog = False, WAITING
    warning: str | None = None

    def __init__(self) -> None:
        self._sound: ffmpeg.Sound | None = None

    def pieces(self) -> Generator[Piece]:
        """The sound, decoded as it comes; a file that was redirected here is read like a file."""
        file = _standard_input()
        if file.seekable():
            yield from decoded(self, file)
            return
        given = ffmpeg.Input("pipe:0", file.fileno(), ("pipe",), live=True)
        sound = self._sound = ffmpeg.Sound(given, "standard input", FOREVER)
        try:
            with closing(sound.blocks()) as blocks:
                for block in blocks:
                    yield Piece(block.T, sound.rate)
        except Undecodable as error:
            raise AudioError(
                f"standard input cannot be decoded ({error}). For raw samples say their --rate; "
                "for all else the ffmpeg program is needed: pip install 'clap-export[ffmpeg]'"
            ) from error
        self.warning = sound.trouble and f"standard input may not be whole: {sound.trouble}."

    def stop(self) -> bool:
        """Ends the program that decodes it."""
        if self._sound is not None:
            self._sound.stop()
        return True


class File:
    """A file; see :class:`Input`."""

    live, backlog = False, WAITING
    warning: str | None = None

    def __init__(self, path: Path) -> None:
        self._path = path

    def pieces(self) -> Generator[Piece]:
        """The sound, as fast as it is wanted."""
        return decoded(self, self._path)

    def stop(self) -> bool:
        """Files do not wait for anything."""
        return True


def decoded(owner: File | Pipe, source: Path | BinaryIO) -> Generator[Piece]:
    """What has a header and can be read anywhere."""
    with Stream(source) as stream, closing(stream.blocks()) as blocks:
        for block in blocks:
            yield Piece(block, stream.rate)
        owner.warning = stream.warning


def _read(number: int) -> bytes:
    try:
        return os.read(number, READ)
    except OSError as error:
        raise AudioError(f"the input cannot be read ({error.strerror or error}).") from error


def _opened(path: Path) -> BinaryIO:
    try:
        return open(path, "rb", buffering=0)  # type: ignore[return-value]
    except OSError as error:
        raise AudioError(f"'{path}' cannot be read ({error.strerror or error}).") from error


def _standard_input() -> BinaryIO:
    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] - closed by whoever started the command
        raise AudioError("standard input is closed: there is no sound in it.")
    if sys.stdin.isatty():
        raise AudioError(
            "standard input is a terminal: send sound to it, or name what to hear with --input."
        )
    try:
        sys.stdin.fileno()
    except (OSError, ValueError) as error:
        raise AudioError("standard input cannot be read: it is no file or pipe.") from error
    return sys.stdin.buffer
