"""An answer beside what is expected: how far it is off, and why that is too much."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from clap_export.conformance.kit import Case, Tolerance
from runtime.conformance import wire
from runtime.errors import ClapError
from runtime.schema import shown

EVENT = ("label", "start", "end", "peak", "peak_at")


class Differs(Exception):
    """Why an output is not what is expected, as a clause."""


@dataclass(frozen=True)
class Distance:
    """How far an output is off.

    Attributes:
        value: in the unit of its tolerance.
        limit: that its tolerance has.
    """

    value: float
    limit: float

    @property
    def share(self) -> float:
        """Of the limit."""
        return self.value / self.limit if self.limit else 0.0


def outputs(
    case: Case, found: Mapping[str, Any], kit: Path
) -> tuple[dict[str, Distance], list[str]]:
    """Compare the outputs of a case.

    Args:
        case: with what is expected.
        found: the answer's outputs.
        kit: its folder.

    Returns:
        how far each output is off, where that is a number; and why they are not what is expected,
        which is empty when they are.
    """
    expected = case.expected or {}
    problems = [f"'{name}' is missing" for name in expected if name not in found]
    problems += [f"'{shown(name)[1:-1]}' is no output of it" for name in found.keys() - expected]
    distances: dict[str, Distance] = {}
    for name, wanted in expected.items():
        if name in found:
            tolerance = case.tolerance[name]
            try:
                value = distance(wanted, found[name], tolerance, kit)
            except Differs as problem:
                problems.append(f"'{name}' {problem}")
                continue
            limit = tolerance.limit or 0.0
            if tolerance.limit is not None:
                distances[name] = Distance(value, limit)
            if not value <= limit:
                problems.append(
                    f"'{name}' is off by {value:.3g}, and {limit:.3g} is allowed ({tolerance.kind})"
                )
    return distances, problems


def distance(wanted: Any, found: Any, tolerance: Tolerance, kit: Path) -> float:
    """How far a value is from what is expected, in the unit of the tolerance.

    Raises:
        Differs: it is of another kind or shape, not finite, or different where it must be equal.
    """
    kind = tolerance.kind
    if kind == "presence":
        if (wanted is None) != (found is None):
            raise Differs(f"is {shown(found)}, and should be {'null' if wanted is None else 'set'}")
        return 0.0
    if kind == "events":
        return _events(wanted, found, tolerance)
    if kind == "exact" and not wire.is_array(wanted):
        _equal(wanted, found, "")
        return 0.0
    expected, actual = _arrays(wanted, found, kit)
    if kind == "exact":
        _same(expected, actual)
        return 0.0
    if not np.isfinite(actual).all():
        raise Differs("holds NaN or infinite values")
    a, b = expected.astype(np.float64), actual.astype(np.float64)
    if kind == "absolute":
        return float(np.abs(a - b).max(initial=0.0))
    if kind == "cosine":
        return _cosine(np.atleast_2d(a), np.atleast_2d(b))
    size = float(np.sqrt(np.mean(a**2))) if a.size else 1.0
    return float(np.sqrt(np.mean((a - b) ** 2))) / max(size, 1e-30) if a.size else 0.0


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    if not (lengths > 0).all():
        raise Differs("holds a vector of zeros")
    worst_norm = float(np.abs(np.linalg.norm(b, axis=1) - 1).max(initial=0.0))
    if worst_norm > 1e-3:
        raise Differs(f"is not of unit norm (off by {worst_norm:.3g})")
    # By the difference of the unit vectors: 1 - cosine itself is rounded at 1e-16, not at 1e-8.
    u = a / np.linalg.norm(a, axis=1, keepdims=True)
    v = b / np.linalg.norm(b, axis=1, keepdims=True)
    return float((((u - v) ** 2).sum(axis=1) / 2).max(initial=0.0))


def _arrays(wanted: Any, found: Any, kit: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both sides as arrays of one shape."""
    if not wire.is_array(wanted):
        expected, actual = np.array(wanted, np.float64), _numbers(found, wanted)
    else:
        if not wire.is_array(found):
            raise Differs(f"is {shown(found)}, not an array")
        expected = wire.to_array(wanted, kit)
        try:
            actual = wire.to_array(found)
        except ClapError as error:
            raise Differs(f"is no array: {str(error).rstrip('.')}") from error
        if actual.dtype != expected.dtype:
            raise Differs(f"is {actual.dtype}, not {expected.dtype}")
    if actual.shape != expected.shape:
        raise Differs(f"has the shape {list(actual.shape)}, not {list(expected.shape)}")
    return expected, actual


def _numbers(found: Any, wanted: Any) -> NDArray[np.float64]:
    """A number, or a list of them."""
    items = cast("list[Any]", found) if isinstance(found, list) else [found]
    bad = [item for item in items if isinstance(item, bool) or not isinstance(item, (int, float))]
    if bad or isinstance(found, list) != isinstance(wanted, list):
        what = "a list of numbers" if isinstance(wanted, list) else "a number"
        raise Differs(f"is {shown(found)}, not {what}")
    try:
        return np.array(found, np.float64)
    except OverflowError:
        raise Differs("holds a number that is too large") from None


def _same(expected: NDArray[Any], actual: NDArray[Any]) -> None:
    different = np.flatnonzero(expected.reshape(-1) != actual.reshape(-1))
    if not len(different):
        return
    at = tuple(int(i) for i in np.unravel_index(different[0], expected.shape))
    raise Differs(
        f"differs in {len(different)} of {expected.size} values, first at {list(at)}: "
        f"{actual[at]}, not {expected[at]}"
    )


def _equal(wanted: Any, found: Any, where: str) -> None:
    """The same plain value; a number may be written 1 or 1.0."""
    if isinstance(wanted, list):
        if not isinstance(found, list):
            raise Differs(f"{where}is {shown(found)}, not a list")
        items = cast("list[Any]", found)
        for place, (a, b) in enumerate(zip(wanted, items, strict=False)):
            _equal(a, b, f"at {place} ")
        if len(items) != len(wanted):
            raise Differs(f"has {len(items)} items, not {len(wanted)}")
        return
    numbers = (int, float)
    both = isinstance(wanted, numbers) and isinstance(found, numbers)
    same_kind = type(wanted) is type(found) or (
        both and not isinstance(wanted, bool) and not isinstance(found, bool)
    )
    if not same_kind or wanted != found:
        raise Differs(f"{where}is {shown(found)}, not {shown(wanted)}")


def _events(wanted: Sequence[Mapping[str, Any]], found: Any, tolerance: Tolerance) -> float:
    """The largest difference of peaks, where labels and times are right."""
    if not isinstance(found, list):
        raise Differs(f"is {shown(found)}, not a list of events")
    events = cast("list[Any]", found)
    for event in events:
        if not isinstance(event, dict) or set(cast("dict[str, Any]", event)) != set(EVENT):
            raise Differs(f"holds {shown(event)}, not an event with {', '.join(EVENT)}")
    labels = [event["label"] for event in events]
    expected = [event["label"] for event in wanted]
    if labels != expected:
        raise Differs(f"are of {shown(labels)}, not of {shown(expected)}")
    worst = 0.0
    for place, (a, b) in enumerate(zip(wanted, events, strict=True)):
        for name in EVENT[1:]:
            if isinstance(b[name], bool) or not isinstance(b[name], (int, float)):
                raise Differs(f"at {place} have '{name}' {shown(b[name])}, not a number")
        for name in ("start", "end", "peak_at"):
            if not abs(a[name] - b[name]) <= (tolerance.seconds or 0.0):
                raise Differs(f"at {place} have '{name}' {b[name]:g}, not {a[name]:g}")
        off = abs(a["peak"] - b["peak"])
        worst = max(worst, off if math.isfinite(off) else math.inf)
    return worst
