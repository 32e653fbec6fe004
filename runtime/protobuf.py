"""Protobuf's wire format, read more strictly than protobuf does: what is not known is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

MOST_TEXT = 4096  # bytes of a name

View: TypeAlias = "memoryview[int]"
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
# Fields of a message by number: how they are written, or in words what they are and may not be.
Fields = dict[int, Any]


class Malformed(Exception):
    """Why a file is refused."""


def fields(data: View, known: Fields, where: str) -> Iterator[tuple[int, Any]]:
    """Fields of a message: an int for a varint, else a view of the bytes."""
    at, end = 0, len(data)
    while at < end:
        tag = data[at]
        at += 1
        if tag > 127:
            tag, at = _long(data, at - 1)
        number, wire = tag >> 3, tag & 7
        expected = known.get(number)
        if isinstance(expected, str):
            raise Malformed(f"it holds {expected}")
        if wire != expected and not (isinstance(expected, tuple) and wire in expected):
            raise Malformed(f"its {where} has a field ({number}, {wire}) that is not known")
        if wire == VARINT:
            value, at = _long(data, at)
            yield number, value
            continue
        if wire == BYTES:
            size, at = _long(data, at)
        else:
            size = 4 if wire == FIXED32 else 8
        if not 0 <= size <= end - at:
            raise Malformed("it is cut short")
        yield number, data[at : at + size]
        at += size


def _long(data: View, at: int) -> tuple[int, int]:
    """A varint as a signed number of 64 bits, and where it ends."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed("it is cut short")
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    value &= (1 << 64) - 1
    return (value - (1 << 64) if value >> 63 else value), at


def varints(data: View, most: int) -> list[int]:
    """A list of varints, of at most so many."""
    found: list[int] = []
    at = 0
    while at < len(data):
        value, at = _long(data, at)
        found.append(value)
        if len(found) > most:
            raise Malformed(f"a list of more than {most} numbers is not read")
    return found


def count(data: View) -> int:
    """How many varints there are: each ends in a byte below 128."""
    return sum(byte < 128 for byte in data)


def text(data: View, most: int = MOST_TEXT) -> str:
    """UTF-8 of at most so many bytes."""
    if len(data) > most:
        raise Malformed(f"a name of {len(data)} bytes is too long")
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise Malformed("a name in it is not UTF-8") from None
