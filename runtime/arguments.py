"""What callers pass: numbers of the right kind and size, or one sentence."""

from __future__ import annotations

import math
import reprlib
from typing import Any, cast

import numpy as np

from runtime.errors import ClapError

MOST_THREADS = 1024  # of a process: engines and pools that are asked for more end it


def whole(
    name: str,
    value: Any,
    least: int = 1,
    error: type[ClapError] = ClapError,
    most: int | None = None,
) -> int:
    """A whole number of at least ``least``, and at most ``most``.

    Args:
        name: of the argument, for the sentence.
        value: what was passed; numpy's integers are taken, bool and floats are not.
        least: smallest value that is taken.
        error: which exception says what is wrong.
        most: largest value that is taken; default any.

    Raises:
        ClapError: as ``error``: it is another type, too small or too large.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise error(f"{name}={shown(value)}: pass a whole number of at least {least}.")
    if value < least:
        raise error(f"{name}={shown(value)}: pass at least {least}.")
    if most is not None and value > most:
        raise error(f"{name}={shown(value)}: pass at most {most}.")
    return int(cast(int, value))


def maybe_whole(
    name: str,
    value: object,
    least: int = 1,
    error: type[ClapError] = ClapError,
    most: int | None = None,
) -> int | None:
    """The same, or None.

    Raises:
        ClapError: as ``error``: see :func:`whole`.
    """
    if value is None:
        return None
    try:
        return whole(name, value, least, error, most)
    except ClapError as problem:
        raise error(f"{str(problem).removesuffix('.')}, or None.") from None


def number(name: str, value: object, wanted: str = "a finite number") -> float:
    """A number that is neither NaN nor infinite.

    Raises:
        ClapError: it is another type, or not finite.
    """
    found = real(value)
    if found is None or not math.isfinite(found):
        raise ClapError(f"{name}={shown(value)}: pass {wanted}.")
    return found


def real(value: object) -> float | None:
    """A number as float, which may be NaN or infinite; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return None
    try:
        return float(cast(float, value))
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def shown(value: Any) -> str:
    """A value for a sentence, short even if it is not, and even if it cannot be printed."""
    try:
        return reprlib.repr(value)
    except Exception:
        return f"<{type(value).__name__}>"


def check_batch_size(batch_size: object) -> int:
    """A batch size of at least 1.

    Raises:
        ClapError: it is not.
    """
    return whole("batch_size", batch_size)
