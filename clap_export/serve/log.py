"""The log: a JSON object a line, of what happened, never of what was said or heard."""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import threading
import traceback
from datetime import datetime, timezone
from typing import Any

STDERR = 2
MOST_WAITING = 4096  # lines that nobody has read yet
LAST = 1.0  # seconds that the last lines have, when the process ends

log = logging.getLogger("clap_export.serve")


class JsonLines(logging.Formatter):
    """A record as one line of ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """Its time, level, event and fields."""
        moment = datetime.fromtimestamp(record.created, timezone.utc)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }  # fmt: skip
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line)


class Beside(logging.Handler):
    """Writes lines in a thread of its own: no request waits for whoever reads the log.

    A pipe that nobody reads is full after 64 KiB. What comes when too many lines wait is dropped,
    and the next line that is written says how many were.

    Args:
        descriptor: of the file, pipe or terminal.
        most: lines that may wait.
    """

    def __init__(self, descriptor: int, most: int = MOST_WAITING) -> None:
        super().__init__()
        self._descriptor, self._most = descriptor, most
        # Signals log too: this queue may be put into in the midst of another put.
        self._lines: queue.SimpleQueue[str | threading.Event] = queue.SimpleQueue()
        self._dropped = 0
        threading.Thread(target=self._work, name="clap-log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; never waits."""
        if self._lines.qsize() >= self._most:
            self._dropped += 1
            return
        if self._dropped:
            lost = logging.makeLogRecord(
                {"name": record.name, "levelno": logging.WARNING, "levelname": "WARNING"}
            )
            lost.msg, lost.__dict__["fields"] = "log dropped", {"lines": self._dropped}
            self._dropped = 0
            self._lines.put(self.format(lost))
        self._lines.put(self.format(record))

    def finish(self, seconds: float = LAST) -> None:
        """Wait until all is written, for so long."""
        written = threading.Event()
        self._lines.put(written)  # behind all lines: an empty queue may have its last one in hand
        written.wait(seconds)

    def _work(self) -> None:
        while True:
            line = self._lines.get()
            if isinstance(line, threading.Event):
                line.set()
                continue
            data = memoryview(f"{line}\n".encode())
            try:
                while data:
                    # Not through sys.stderr, whose lock the end of the process would wait for.
                    data = data[os.write(self._descriptor, data) :]
            except OSError:  # whoever read it is gone
                self._dropped += 1


def begin(level: int = logging.INFO) -> Beside:
    """Send the log of this service, and what its libraries complain of, to standard error."""
    # Where it was closed by whoever started the process, its number may be any file's by now.
    is_closed = sys.__stderr__ is None
    handler = Beside(os.open(os.devnull, os.O_WRONLY) if is_closed else STDERR)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.ERROR)  # warnings of libraries, and of the runtime, quote what was sent
    log.setLevel(level)
    logging.getLogger("uvicorn.error").addFilter(_is_fault)
    return handler


def _is_fault(record: logging.LogRecord) -> bool:
    """Uvicorn complains of each stream that is refused with a document, though it sends that."""
    return "without completing handshake" not in record.getMessage()


def say(event: str, **fields: object) -> None:
    """Something that happened."""
    log.info(event, extra={"fields": fields})


def log_fault(request_id: str, error: BaseException) -> None:
    """A fault of ours: its type and where it was, not its words, which may be a client's."""
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    fields = {"id": request_id, "type": type(error).__name__, "where": where}
    log.error("fault", extra={"fields": fields})
