"""Arrays and errors as JSON has them, between a reader of a conformance kit and its checker."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from runtime import files
from runtime.errors import ClapError

# By name: numbers in little-endian order, whatever this machine has.
TYPES = {
    "float32": "<f4", "float64": "<f8", "int64": "<i8", "int32": "<i4", "int16": "<i2",
    "uint8": "|u1", "bool": "|b1",
}  # fmt: skip
MOST_BYTES = 1 << 30  # of one array
MOST_AXES = 8
KIT = "{kit}"  # stands for the kit's folder in the sentences of errors


def is_array(value: object) -> bool:
    """Whether a value of a document stands for an array."""
    return isinstance(value, dict) and "dtype" in value and "shape" in value


def to_array(value: object, kit: Path | None = None) -> NDArray[Any]:
    """An array from what stands for it.

    Args:
        value: ``dtype``, ``shape``, and ``file`` (inside the kit) or ``base64``.
        kit: the kit's folder; None where files are not taken.

    Raises:
        ClapError: it is none, or its bytes are not those of its shape.
    """
    table = cast("dict[str, Any]", value if isinstance(value, dict) else {})
    kind, shape = TYPES.get(str(table.get("dtype"))), _shape(table.get("shape"))
    place = "file" if kit is not None else "base64"
    source = table.get(place)
    if kind is None or shape is None or not isinstance(source, str):
        raise ClapError(
            f"an array needs 'dtype' (one of {', '.join(TYPES)}), 'shape' (a list of whole "
            f"numbers) and '{place}'."
        )
    if kit is not None:
        data = files.read(kit / source, most=MOST_BYTES)
    else:
        try:
            data = base64.b64decode(source, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ClapError(f"an array's 'base64' cannot be read ({error}).") from error
    written: np.dtype[Any] = np.dtype(kind)
    wanted = math.prod(shape) * written.itemsize
    if len(data) != wanted:
        raise ClapError(
            f"an array of {table['dtype']} and shape {shape} has {wanted} bytes, and {len(data)} "
            "came."
        )
    array: NDArray[Any] = np.ndarray(shape, written, data)
    return array.astype(table["dtype"], copy=False)


def _shape(value: object) -> list[int] | None:
    """The lengths of an array's axes, if they are any."""
    axes = cast("list[object]", value) if isinstance(value, list) else [None]
    lengths = [n for n in axes if type(n) is int and 0 <= n < 1 << 40]
    return lengths if len(lengths) == len(axes) <= MOST_AXES else None


def described(array: NDArray[Any]) -> dict[str, Any]:
    """What an array is, without its numbers.

    Raises:
        ClapError: its type is none that travels.
    """
    kind = str(array.dtype)
    if kind not in TYPES:
        raise ClapError(f"an array of {kind} cannot be written.")
    return {"dtype": kind, "shape": list(array.shape)}


def data_of(array: NDArray[Any]) -> bytes:
    """An array's numbers as they are written: little-endian, the last axis first to change."""
    return np.ascontiguousarray(array, TYPES[str(array.dtype)]).tobytes()


def to_wire(value: object) -> Any:
    """A value of an answer as JSON has it: arrays in base64, all else as it is."""
    if isinstance(value, np.ndarray):
        array = cast("NDArray[Any]", value)
        return {**described(array), "base64": base64.b64encode(data_of(array)).decode()}
    if isinstance(value, Mapping):
        table = cast("Mapping[str, object]", value)
        return {name: to_wire(item) for name, item in table.items()}
    if isinstance(value, (list, tuple)):
        return [to_wire(item) for item in cast("list[object]", value)]
    return value


def code_of(error: ClapError) -> str:
    """An error's code: the name of its class in lower case, without ``Error``."""
    name = type(error).__name__.removesuffix("Error").lower()
    return "argument" if name == "clap" else name


def error_of(error: ClapError, kit: Path) -> dict[str, str]:
    """An error as it is answered: its code, and its sentence with ``{kit}`` for the folder."""
    return {"code": code_of(error), "message": str(error).replace(str(kit), KIT)}
