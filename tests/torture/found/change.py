"""What makes a bad input of a good one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

BRACKETS = b"[" * 100_000
ESCAPE = "\x1b[2J"
Make = Callable[[bytes], bytes]


def replaced(*place: str | int, to: Any) -> Make:
    """A JSON document with one value replaced."""

    def change(data: bytes) -> bytes:
        document = json.loads(data)
        holder = document
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = to
        return json.dumps(document).encode()

    return change


def holding(data: bytes) -> Make:
    """Other content, whatever was there."""
    return lambda good: data
