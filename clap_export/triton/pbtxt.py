"""Protobuf's text format, as far as a ``config.pbtxt`` needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias, Union

Value: TypeAlias = Union[str, int, bool, "Bare", Mapping[str, "Value"], Sequence["Value"]]


class Bare(str):
    """The name of an enum's value, which stands without quotes."""


def text(message: Mapping[str, Value]) -> str:
    """A message, a field to a line. Of a sequence every element is a field; an empty one is none.

    Args:
        message: its fields by name, in the order in which they are written.
    """
    return "".join(f"{line}\n" for line in _lines(message))


def _lines(message: Mapping[str, Value]) -> Iterator[str]:
    for name, value in message.items():
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(one, Mapping):
                yield f"{name} {{"
                yield from (f"  {line}" for line in _lines(one))
                yield "}"
            else:
                yield f"{name}: {_scalar(one)}"


def _scalar(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Bare)):
        return str(value)
    # Bytes that could end the string, or the line, are written in octal; the rest is UTF-8.
    return '"' + "".join(_letter(c) for c in str(value)) + '"'


def _letter(letter: str) -> str:
    if letter in '"\\':
        return f"\\{letter}"
    return f"\\{ord(letter):03o}" if ord(letter) < 32 or ord(letter) == 127 else letter
