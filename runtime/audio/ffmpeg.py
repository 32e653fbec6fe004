"""Sound through the ``ffmpeg`` program: formats that libsndfile does not know, and damaged files.

The program writes float32 samples into a pipe, at the sound's own rate and with all its channels.
What it is told is made here: no name of a file is part of it, so none can be taken for an option or
a protocol. On its list of formats are only those that hold the sound themselves, not those that
name other files or addresses (playlists, scripts, image sequences). It ends with its reader: it is
killed, and where nobody is left to do that, it ends as it writes into a closed pipe.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import selectors
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.audio import track
from runtime.audio.ffmpeg_log import Log
from runtime.audio.rates import check_rate
from runtime.errors import AudioError

MISSING = (
    "it is corrupt, truncated or of a format that needs the ffmpeg program, which is not "
    "installed. Install it (pip install 'clap-export[ffmpeg]', or the system's ffmpeg), or convert "
    "the file to WAV or FLAC."
)
PATIENCE = 60.0  # seconds without a sample, after which the program is killed
MEMORY = 2 << 30  # bytes of data that the program may have
PIECE = 1 << 18  # bytes that are read at once: more than a pipe holds
FORMATS = (
    "aa,aac,aax,ac3,act,adx,aea,aiff,amr,amrnb,amrwb,ape,asf,ast,au,avi,avr,caf,dsf,dss,dts,dtshd,"
    "eac3,flac,flv,gsm,hcom,iff,ircam,loas,matroska,mlp,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,"
    "nsv,nut,ogg,oma,pvf,qcp,rf64,rm,sbc,sds,shn,sox,tak,truehd,tta,voc,vqf,w64,wav,wsd,wtv,wv,wve,"
    "xwma"
)
# It looks at no more of a stream than this before it begins: it would wait for seconds of sound.
LOOK = ("-probesize", "65536", "-analyzeduration", "1000000")
# Where its libraries are, and nothing else: FFREPORT, for one, would have it write files.
ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")
AU = struct.Struct(">4s5I")  # magic, start of the samples, their size, encoding, rate, channels
FLOAT = 6  # encoding of an AU file


def program() -> str | None:
    """The path of the program: on ``PATH``, or in the package imageio-ffmpeg; None if in neither.

    It is not looked for on Windows, where pipes cannot be waited for as it is done here.
    """
    if os.name != "posix":
        return None
    found = shutil.which("ffmpeg")
    if found is not None:
        return os.path.abspath(found)
    try:
        package: Any = importlib.import_module("imageio_ffmpeg")
        return os.path.abspath(str(package.get_ffmpeg_exe()))
    except Exception:  # not installed, or without a program for this machine
        return None


@dataclass(frozen=True)
class Input:
    """What the program reads.

    Attributes:
        url: with its protocol in front; never a bare name.
        stdin: descriptor of a file that it gets as its standard input.
        protocols: that it may use.
        formats: that it may take the input for, separated by commas.
        options: of the program for this input.
        live: samples are wanted as soon as they are there.
    """

    url: str
    stdin: int | None = None
    protocols: tuple[str, ...] = ("file",)
    formats: str = FORMATS
    options: tuple[str, ...] = ()
    live: bool = False


def stream(
    url: str, protocols: tuple[str, ...], formats: str = FORMATS, options: tuple[str, ...] = ()
) -> Input:
    """A stream that somebody asked for by its address.

    Args:
        url: such as ``rtsp://camera/1``.
        protocols: that it may be of, and those that they need.
        formats: that it may have; see :class:`Input`.
        options: of the program for it, such as ``("-rtsp_transport", "tcp")``.

    Raises:
        AudioError: it is of another protocol.
    """
    scheme, found, _ = url.partition("://")
    if not found or scheme.lower() not in protocols:
        raise AudioError(
            f"'{url}' is no address of a stream that may be opened: begin it with "
            f"{' or '.join(f'{each}://' for each in protocols)}."
        )
    return Input(url, None, protocols, formats, (*LOOK, *options), live=True)


class Sound:
    """The program at work.

    Args:
        given: what it reads.
        name: of that, for sentences.
        patience: seconds without a sample, after which it is killed.

    Attributes:
        rate: in Hz; 0 until the first block.
        trouble: what is wrong with the sound, a clause; known when the blocks are exhausted.
    """

    def __init__(self, given: Input, name: str, patience: float = PATIENCE) -> None:
        self._given, self._name, self._patience = given, name, patience
        self._log = Log()
        self._stalled = self._stopped = False
        self._process: subprocess.Popen[bytes] | None = None
        self.rate = self._frames = 0
        self.trouble: str | None = None

    @property
    def stated(self) -> int | None:
        """Frames by the header, where it tells the length of the sound alone."""
        return None if self._log.seconds is None else round(self._log.seconds * self.rate)

    def blocks(self) -> Generator[NDArray[np.float32]]:
        """float32 ``[frames, channels]``. The program runs while this is iterated over.

        Raises:
            Undecodable: the program is not there, or can make nothing of it.
            AudioError: a rate or a number of channels that are not taken.
        """
        path = program()
        if path is None:
            raise track.Undecodable("ffmpeg is not installed", MISSING)
        with _running(path, self._given) as process:
            self._process = process
            if self._stopped:
                return
            pieces = self._pieces(process)
            channels, rest = self._begin(pieces, process)
            for piece in itertools.chain((b"",), pieces):
                data = rest + piece
                whole = len(data) // (4 * channels) * channels
                rest = data[4 * whole :]
                if whole:
                    self._frames += whole // channels
                    block = np.frombuffer(data, ">f4", whole).astype(np.float32)
                    yield np.reshape(block, (-1, channels))
            self.trouble = self._troubles(process)
            if not self._frames and self.trouble:
                raise track.Undecodable(self._reason(process))

    def stop(self) -> None:
        """End the program, from any thread: then the blocks end too."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()

    def _begin(
        self, pieces: Iterator[bytes], process: subprocess.Popen[bytes]
    ) -> tuple[int, bytes]:
        """The number of channels, and the first bytes of samples."""
        data = _at_least(AU.size, b"", pieces)
        if len(data) < AU.size or self._log.guessed:
            raise track.Undecodable(self._reason(process))
        magic, start, _, encoding, rate, channels = AU.unpack_from(data)
        if magic != b".snd" or encoding != FLOAT:
            raise track.Undecodable("ffmpeg wrote something else than samples")
        self.rate = check_rate(rate, self._name)
        return track.check_channels(channels, self._name), _at_least(start, data, pieces)[start:]

    def _pieces(self, process: subprocess.Popen[bytes]) -> Iterator[bytes]:
        """What the program writes, until it ends or is silent for too long."""
        assert process.stdout is not None
        assert process.stderr is not None
        with selectors.DefaultSelector() as selector:
            # Complaints are registered first, and read first: they come before their samples.
            selector.register(process.stderr, selectors.EVENT_READ)
            selector.register(process.stdout, selectors.EVENT_READ)
            since = time.monotonic()
            while selector.get_map():
                ready = selector.select(max(0.0, since + self._patience - time.monotonic()))
                if not ready:
                    self._stalled = True
                    return
                ready.sort(key=lambda event: event[0].fileobj is process.stdout)
                for key, _ in ready:
                    data = os.read(key.fd, PIECE)
                    if not data:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is process.stderr:
                        self._log.feed(data)
                    else:
                        yield data
                        since = time.monotonic()  # the reader's own time is not counted

    def _troubles(self, process: subprocess.Popen[bytes]) -> str | None:
        found: list[str] = []
        if self._stalled:
            found.append(f"ffmpeg gave nothing for {self._patience:g} s and was stopped")
        elif self._log.error:
            found.append(f"some of it is damaged (ffmpeg: {self._log.error})")
        elif code := _status(process):
            found.append(f"ffmpeg ended with status {code}")
        if len(self._log.shapes) > 1:
            (old, layout), (new, other) = self._log.shapes[:2]
            found.append(
                f"it changes from {old} Hz, {layout}, to {new} Hz, {other}, and all of it was "
                f"brought to {self.rate} Hz"
            )
        return "; ".join(found) or None

    def _reason(self, process: subprocess.Popen[bytes]) -> str:
        if self._log.guessed:
            return "ffmpeg: it does not look like any format"
        if self._stalled:
            return f"ffmpeg gave nothing for {self._patience:g} s"
        return f"ffmpeg: {self._log.error or f'status {_status(process)}'}"


@contextmanager
def _running(path: str, given: Input) -> Generator[subprocess.Popen[bytes]]:
    try:
        process = subprocess.Popen(
            [path, *_arguments(given)],
            stdin=subprocess.DEVNULL if given.stdin is None else given.stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
            cwd=os.sep,
            start_new_session=True,  # a Ctrl-C is for its reader
        )
    except OSError as error:
        reason = error.strerror or error
        raise track.Undecodable(f"ffmpeg cannot be started ({reason})") from error
    with process:  # closes the pipes, and waits
        try:
            _limit(process.pid)
            yield process
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    # With what it started itself: on some systems it is a script.
                    os.killpg(process.pid, signal.SIGKILL)


def _arguments(given: Input) -> list[str]:
    return [
        *("-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+verbose"),
        *("-filter_threads", "1", "-threads", "1", "-err_detect", "crccheck"),
        *("-protocol_whitelist", ",".join(given.protocols), "-format_whitelist", given.formats),
        *given.options,
        *("-i", given.url, "-map", "0:a:0", "-vn", "-sn", "-dn"),
        *("-map_metadata", "-1", "-map_chapters", "-1", "-c:a", "pcm_f32be"),
        *(("-flush_packets", "1") if given.live else ()),
        *("-f", "au", "pipe:1"),
    ]


def _limit(process: int) -> None:
    """Bound what a file can make the program take; where the system can do that."""
    with contextlib.suppress(ImportError, AttributeError, OSError, ValueError):
        import resource

        resource.prlimit(process, resource.RLIMIT_DATA, (MEMORY, MEMORY))
        resource.prlimit(process, resource.RLIMIT_FSIZE, (0, 0))
        resource.prlimit(process, resource.RLIMIT_CORE, (0, 0))


def _status(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:  # it closed its pipes, and stays
        return 0


def _at_least(count: int, data: bytes, pieces: Iterator[bytes]) -> bytes:
    while len(data) < count and (piece := next(pieces, b"")):
        data += piece
    return data
