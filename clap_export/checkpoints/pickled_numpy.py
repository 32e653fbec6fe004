"""numpy's scalars and arrays in pickles, made by us from their bytes.

Their own ``__setstate__`` follows pointers of the file's choice, once a dtype says that it holds
objects. Only numbers of fixed size are made here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MAX_AXES = 16
_KINDS = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"})


class PickleError(ValueError):
    """What is wrong with a pickle, as part of a sentence."""


class ForeignError(PickleError):
    """A pickle asks for something that a checkpoint does not need."""


@dataclass
class Dtype:
    """A numpy dtype of numbers; its byte order comes later."""

    kind: str
    order: str = "<"

    def set_order(self, state: Any) -> None:
        """Take the byte order from a dtype's state; all else there belongs to structured types."""
        if (
            not isinstance(state, tuple)
            or len(state) < 5
            or state[1] not in ("<", ">", "|", "=")
            or any(part is not None for part in state[2:5])
        ):
            raise ForeignError("it asks for a numpy type with fields")
        self.order = ">" if state[1] == ">" else "<"


@dataclass
class Array:
    """A numpy array whose content is still to come, and where the pickle remembers it."""

    memo_keys: list[int] = field(default_factory=list)


def checked_sizes(sizes: Any) -> tuple[int, ...]:
    """A shape, or strides: not too many numbers, none negative."""
    if isinstance(sizes, list | tuple) and len(sizes) <= MAX_AXES:
        found = tuple(sizes)
        if all(type(n) is int and 0 <= n < 2**62 for n in found):
            return found
    raise PickleError("a shape that is none")


def array_of(state: Any) -> np.ndarray:
    """From an array's state: perhaps a version, then shape, dtype, Fortran order and bytes."""
    if not isinstance(state, tuple) or len(state) not in (4, 5):
        raise PickleError("a numpy array without content")
    shape, dtype, fortran, raw = state[-4:]
    return _array(dtype, shape, raw, "F" if fortran else "C")


def _array(dtype: Any, shape: Any, raw: Any, order: Any) -> np.ndarray:
    if not isinstance(dtype, Dtype) or not isinstance(raw, bytes):
        raise ForeignError("it asks for numpy values that are no numbers")
    kind, sizes = np.dtype(dtype.order + dtype.kind), checked_sizes(shape)
    if math.prod(sizes) * kind.itemsize != len(raw):
        raise PickleError(f"a numpy value of {len(raw)} bytes for the shape {sizes}")
    if kind.kind == "b":  # a byte other than 0 and 1 is no bool
        found = np.frombuffer(raw, np.uint8) != 0
    else:
        found = np.frombuffer(raw, kind).astype(kind.newbyteorder("="))
    return found.reshape(sizes, order="F" if order == "F" else "C")


def _dtype(kind: Any, *_flags: Any) -> Dtype:
    text = kind if isinstance(kind, str) else ""
    if text.lstrip("<>|=") not in _KINDS:
        raise ForeignError(f"it asks for numpy values of type {text[:20]!r}")
    return Dtype(text.lstrip("<>|="), ">" if text[0] == ">" else "<")


def _scalar(dtype: Any, raw: Any) -> Any:
    return _array(dtype, (), raw, "C").item()


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any = "C") -> np.ndarray:
    return _array(dtype, shape, raw, order)


MAKERS: dict[str, Callable[..., Any]] = {"numpy.dtype": _dtype}
for _core in ("core", "_core"):  # of numpy 1 and 2
    MAKERS[f"numpy.{_core}.multiarray.scalar"] = _scalar
    MAKERS[f"numpy.{_core}.multiarray._reconstruct"] = lambda *_arguments: Array()
    MAKERS[f"numpy.{_core}.numeric._frombuffer"] = _from_buffer
