"""A camera or a radio station, by its address; opened again when it breaks off."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass

from clap_export.command import terminal
from runtime.audio import ffmpeg
from runtime.audio.rates import check_rate
from runtime.audio.track import Undecodable
from runtime.errors import AudioError
from runtime.listening.backlog import Piece

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds before it is opened again; twice as long each time


@dataclass(frozen=True)
class Kind:
    """What addresses of a scheme may lead to.

    Attributes:
        protocols: that ffmpeg may use for them.
        formats: that it may find there, separated by commas.
        backlog: seconds that may wait for a slow machine.
        patience: seconds without a sample, after which it is opened again.
    """

    protocols: tuple[str, ...]
    formats: str
    backlog: float
    patience: float


# A station sends what it has from before at once, and a playlist its last parts, of 10 s or so
# each. A playlist names other addresses. With these protocols they cannot be files, or anything
# else that is not on the net: ffmpeg asks this list for all that a playlist, a key in it or a
# redirection names.
HTTP = Kind(("http", "https", "tcp", "tls", "crypto"), f"{ffmpeg.FORMATS},hls", 60.0, 30.0)
RTSP = Kind(("rtsp", "rtsps", "rtp", "srtp", "udp", "tcp", "tls", "crypto"), "rtsp,rtp", 10.0, 15.0)
OPENED = {"http": HTTP, "https": HTTP, "rtsp": RTSP, "rtsps": RTSP}
# Through TCP a camera's packets are not lost where the network is busy.
OPTIONS = {"rtsp": ("-rtsp_transport", "tcp"), "rtsps": ("-rtsp_transport", "tcp")}


class Address:
    """A stream through the ffmpeg program; see :class:`clap_export.cli.listening.inputs.Input`.

    Args:
        url: of a protocol in :data:`OPENED`.
        reconnect: open it again when it ends or fails, if it could be opened once. Without, it is
            a recording.
        first_pause: seconds before it is opened again.

    Raises:
        AudioError: another protocol.
    """

    warning: str | None = None

    def __init__(
        self, url: str, *, reconnect: bool = True, first_pause: float = FIRST_PAUSE
    ) -> None:
        self._name = without_secrets(url)
        # A recording waits for its reader.
        self.live = reconnect
        scheme = url.partition("://")[0].lower()
        if scheme not in OPENED:
            raise AudioError(
                f"'{self._name}' cannot be listened to: addresses begin with "
                f"{', '.join(f'{each}://' for each in OPENED)}."
            )
        self._kind = kind = OPENED[scheme]
        self.backlog = kind.backlog
        self._given = ffmpeg.stream(url, kind.protocols, kind.formats, OPTIONS.get(scheme, ()))
        self._reconnect, self._first_pause = reconnect, first_pause
        self._stopped = threading.Event()
        self._sound: ffmpeg.Sound | None = None

    def pieces(self) -> Generator[Piece]:
        """The sound; behind a break, with a gap as long as it lasted."""
        pause = self._first_pause
        last: float | None = None  # when the last samples came
        while not self._stopped.is_set():
            sound = self._sound = ffmpeg.Sound(self._given, self._name, self._kind.patience)
            opened = False
            try:
                with closing(sound.blocks()) as blocks:
                    for block in blocks:
                        rate, now = check_rate(sound.rate, self._name), time.monotonic()
                        gap = 0.0
                        if not opened and last is not None:
                            gap = max(0.0, now - last - len(block) / rate)
                        opened, last, pause = True, now, self._first_pause
                        yield Piece(block.T, rate, gap)
                why = sound.trouble or "it ended"
            except Undecodable as error:
                why = str(error)
            if self._stopped.is_set():
                return
            why = without_secrets(why)
            if last is None:
                raise AudioError(
                    f"'{self._name}' cannot be opened ({why}). Check the address, and that ffmpeg "
                    "is installed."
                )
            if not self._reconnect:
                if sound.trouble:
                    self.warning = f"'{self._name}' may not be whole: {why}."
                return
            terminal.warn(f"'{self._name}': {why}; it is opened again in {pause:g} s.")
            self._stopped.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def stop(self) -> bool:
        """Ends the program, or the pause."""
        self._stopped.set()
        if self._sound is not None:
            self._sound.stop()
        return True


def without_secrets(text: str) -> str:
    """Addresses without the name and password that they may hold, and what follows a ``?``."""
    return re.sub(r"(\w+://)(?:[^/\s@]*@)?([^\s?]*)(\?\S*)?", r"\1\2", text)
