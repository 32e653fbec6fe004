"""Events to a web server: one JSON object a request, in a thread that the sound never waits for."""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from urllib.parse import urlsplit

import click

from clap_export import __version__
from clap_export.cli.listening.address import without_secrets
from clap_export.command import terminal

MOST = 256  # events that wait
TRIES = 5
TIMEOUT = 5.0  # seconds for a connection, and for each part of an answer
FIRST_PAUSE = 0.5  # seconds before the second try; twice as long before each one after
BUSY = (408, 425, 429, 500, 502, 503, 504)  # answers after which another try may help


class Webhook:
    """Posts JSON to an address.

    What cannot be delivered is tried again, and given up in the end. When more wait than
    :data:`MOST`, the oldest are dropped. Both are counted and said once.

    Args:
        url: ``http://`` or ``https://``. Redirections are not followed.
        first_pause: seconds before the second try.

    Raises:
        click.BadParameter: another kind of address.
    """

    def __init__(self, url: str, first_pause: float = FIRST_PAUSE) -> None:
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # a port that is no number, a bracket that is not closed
            parts = None
            usable = False
        if parts is None or not usable or not url.isascii() or any(c <= " " for c in url):
            raise click.BadParameter(
                f"'{without_secrets(url)}' is no http:// or https:// address.",
                param_hint="'--post'",
            )
        if parts.username is not None:
            raise click.BadParameter(
                "names and passwords in an address are not sent; use a secret path.",
                param_hint="'--post'",
            )
        self._url, self._pause = url, first_pause
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._ended = self._busy = False
        self.posted = self.failed = self.dropped = 0
        self._opener = urllib.request.OpenerDirector()
        # No handlers of files or FTP, and none that follows a redirection to another address.
        for handler in (
            urllib.request.ProxyHandler(), urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(), urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
        ):  # fmt: skip
            self._opener.add_handler(handler)
        self._thread = threading.Thread(target=self._work, name="clap-post", daemon=True)
        self._thread.start()

    def put(self, value: object) -> None:
        """Post a value some time; never waits."""
        data = json.dumps(value).encode("ascii")
        with self._changed:
            if len(self._waiting) == MOST:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(data)
            self._changed.notify_all()

    def close(self, patience: float = 2 * TIMEOUT) -> None:
        """Deliver what waits, within some seconds; what is left then has failed."""
        deadline = time.monotonic() + patience
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            while (self._waiting or self._busy) and time.monotonic() < deadline:
                self._changed.wait(deadline - time.monotonic())
            self.failed += len(self._waiting) + self._busy
            self._busy = False
            self._waiting.clear()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if self._ended:
                        return
                    self._changed.wait()
                data, self._busy = self._waiting.popleft(), True
            done = self._deliver(data)
            with self._changed:
                if self._busy:  # or it was given up
                    self.posted += done
                    self.failed += not done
                self._busy = False
                self._changed.notify_all()

    def _deliver(self, data: bytes) -> bool:
        pause = self._pause
        for attempt in range(TRIES):
            if attempt:
                time.sleep(pause)
                pause *= 2
            trouble, again = self._post(data)
            if trouble is None:
                return True
            if not again:
                break
        if not self.failed:
            terminal.warn(
                f"Warning: '{without_secrets(self._url)}' does not take events: {trouble}"
            )
        return False

    def _post(self, data: bytes) -> tuple[str | None, bool]:
        """What is wrong, and whether another try may help."""
        request = urllib.request.Request(
            self._url, data, method="POST",
            headers={
                "Content-Type": "application/json", "User-Agent": f"clap-export/{__version__}",
            },
        )  # fmt: skip
        try:
            with self._opener.open(request, timeout=TIMEOUT):
                return None, False
        except urllib.error.HTTPError as error:
            with error:
                return f"{error.code} {error.reason}", error.code in BUSY
        except (OSError, http.client.HTTPException, ValueError) as error:
            return str(getattr(error, "reason", error)) or type(error).__name__, True
