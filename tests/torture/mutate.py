"""Damage to files: bytes that are changed at random, and JSON whose values are."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

# Where readers go wrong: bounds of integer types, and what lies beside them.
NUMBERS = (0, 1, 2, 3, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64)
VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 2, 2**31, 2**63, 2**64, 10**9, 10**12, 10**400, 0.5, -1.5),
    *(float("nan"), float("inf"), "", "x", "\0", "\ud800", "\x1b[2J", "x" * 10_000),
    *([], {}, [1], [[]], ["a"], {"a": 1}, [None] * 1000),
)
NESTED = (b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5000, b"", b"null", b"[]", b"\xff\xfe", b"\0")


def damaged(data: bytes, rng: random.Random) -> bytes:
    """One to six edits: bits, bytes, numbers, and pieces that are lost, doubled or moved."""
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        at = rng.randrange(len(made) + 1)
        # Headers are short, and half of the edits belong there.
        if rng.random() < 0.5:
            at = rng.randrange(min(len(made), 256) + 1)
        _edit(made, at, rng)
    return bytes(made)


def _edit(made: bytearray, at: int, rng: random.Random) -> None:
    length = rng.choice((1, 2, 4, 8, 16, 64, 1024))
    match rng.randrange(8):
        case 0 if at < len(made):
            made[at] ^= 1 << rng.randrange(8)
        case 1 if at < len(made):
            made[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        case 2:
            del made[at : at + length]
        case 3:
            made[at:at] = made[at : at + length]
        case 4:
            made[at:at] = rng.randbytes(length)
        case 5:
            del made[at:]
        case 6:
            size = rng.choice((1, 2, 4, 8))
            number = rng.choice(NUMBERS) % (1 << (8 * size))
            made[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
        case _:
            other = rng.randrange(len(made) + 1)
            made[at : at + length] = made[other : other + length]


def damaged_json(text: str, rng: random.Random) -> bytes:
    """A JSON document with values, keys or parts of another kind; now and then no JSON at all."""
    if rng.random() < 0.05:
        return rng.choice(NESTED)
    if rng.random() < 0.2:
        return damaged(text.encode(), rng)
    document = json.loads(text)
    for _ in range(rng.choice((1, 1, 2, 4))):
        places = [place for place in _places(document) if place]
        if places:
            _replace(document, rng.choice(places), rng)
    return json.dumps(document).encode()


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _places(inner, (*place, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value[:50]):
            yield from _places(inner, (*place, i))


def _replace(document: Any, place: tuple[Any, ...], rng: random.Random) -> None:
    holder = document
    for key in place[:-1]:
        holder = holder[key]
    key, old = place[-1], holder[place[-1]]
    draw = rng.random()
    if draw < 0.15:
        del holder[key]
    elif draw < 0.2 and isinstance(holder, dict):
        holder[rng.choice(("", "extra", "\x1b]0;x\x07", "format"))] = old
    elif draw < 0.5 and isinstance(old, (int, float)) and not isinstance(old, bool):
        holder[key] = rng.choice((old + 1, old - 1, -old, old * 1000, old * 10**9, str(old)))
    elif draw < 0.6 and isinstance(old, list) and old:
        holder[key] = rng.choice((old * 2, old[1:], [*old, old[0]], list(reversed(old))))
    else:
        holder[key] = copy.deepcopy(rng.choice(VALUES))
