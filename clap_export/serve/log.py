"""The log: a JSON object a line, of what happened, never of what was said or heard."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import datetime, timezone
from typing import Any

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


def begin(level: int = logging.INFO) -> None:
    """Send the log of this service, and what its libraries complain of, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    # The runtime's own warnings name labels.
    for name, least in (("clap_export.serve", level), ("uvicorn", logging.ERROR)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(least)
    logging.getLogger("runtime").setLevel(logging.ERROR)


def say(event: str, **fields: object) -> None:
    """Something that happened."""
    log.info(event, extra={"fields": fields})


def log_fault(request_id: str, error: BaseException) -> None:
    """A fault of ours: its type and where it was, not its words, which may be a client's."""
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    fields = {"id": request_id, "type": type(error).__name__, "where": where}
    log.error("fault", extra={"fields": fields})
