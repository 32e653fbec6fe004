"""What libsndfile writes of a header: more than it tells of formats that state their length."""

from __future__ import annotations

import re

# Where the log has the number of frames that the header states, in formats of which libsndfile
# gives the number of those that are there.
STATED = {
    "AVR": r"^ *Frames *: (\d+)$",
    "MPC2K": r"^ *Frames *: (\d+)$",
    "MAT4": r"^ *Cols *: (\d+)$",
    "MAT5": r"^ *Rows *: \d+ *Cols *: (\d+)$",
    "WVE": r"^Data length (\d+) should be ",
}
# And of those that are there, in a format of which it gives the number that is stated, and makes
# up what is missing.
THERE = {"SDS": r"^Frames *: (\d+)$"}
TRUNCATED = "file seems to be truncated"


def stated(kind: str, log: str) -> int | None:
    """Frames by the header.

    Args:
        kind: of the file, as libsndfile calls it.
        log: of libsndfile.
    """
    return _last(STATED.get(kind), log)


def there(kind: str, log: str) -> int | None:
    """Frames that the file has room for, where libsndfile may give more."""
    return _last(THERE.get(kind), log)


def truncated(kind: str, log: str) -> bool:
    """Whether a file ends inside a block, where libsndfile does not say how much is missing."""
    return kind == "PAF" and TRUNCATED in log


def _last(pattern: str | None, log: str) -> int | None:
    found = re.findall(pattern, log, re.MULTILINE) if pattern else []
    return int(found[-1]) if found else None
