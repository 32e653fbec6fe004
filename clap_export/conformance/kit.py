"""What a kit's document, ``kit.json``, says; docs/conformance.md is the specification."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from runtime import schema
from runtime.errors import ClapError

FORMAT: Literal["clap-conformance-kit"] = "clap-conformance-kit"
FORMAT_VERSION: Literal[1] = 1
DOCUMENT, SCHEMA = "kit.json", "kit.schema.json"

Kind = Literal["exact", "presence", "absolute", "relative_rms", "cosine", "events"]


@dataclass(frozen=True)
class Tolerance:
    """How far an output may be from what is expected.

    Attributes:
        kind: ``exact``; ``presence`` (both are null, or neither is); ``absolute`` (the largest
            difference); ``relative_rms`` (root mean square of the difference, by that of what is
            expected); ``cosine`` (1 - cosine, of the worst row); ``events`` (the same labels, with
            times within ``seconds`` and peaks within ``limit``).
        limit: the most that is allowed.
        seconds: the most that times of events may differ.
    """

    kind: Kind
    limit: float | None = None
    seconds: float | None = None


EXACT, PRESENCE = Tolerance("exact"), Tolerance("presence")


def absolute(limit: float) -> Tolerance:
    """The largest difference."""
    return Tolerance("absolute", limit)


@dataclass(frozen=True)
class Refusal:
    """An error as an answer; see :mod:`runtime.conformance.wire`."""

    code: str
    message: str


@dataclass(frozen=True)
class Case:
    """One question.

    Attributes:
        id: ``TASK/…``, unique in the kit.
        task: what is asked for; one of :data:`runtime.conformance.tasks.TASKS`.
        input: what it is asked of.
        expected: the outputs; None where an error is expected.
        tolerance: of each output.
        error: that is expected.
        optional: readers may skip it.
    """

    id: str
    task: str
    input: dict[str, Any]
    expected: dict[str, Any] | None = None
    tolerance: dict[str, Tolerance] = field(default_factory=dict[str, Tolerance])
    error: Refusal | None = None
    optional: bool = False

    def __post_init__(self) -> None:
        if (self.expected is None) == (self.error is None):
            raise ValueError(f"{self.id}: there must be either 'expected' or 'error'")
        if self.expected is not None and self.expected.keys() != self.tolerance.keys():
            raise ValueError(f"{self.id}: 'tolerance' must name what 'expected' does")


@dataclass(frozen=True)
class Kit:
    """A kit's document.

    Attributes:
        bundle: folder of the bundle that it was made of, in the kit.
        space_id: of the bundle.
        clip_space_id: of the bundle under its own policy.
        tools: versions that wrote it.
        cases: in order.
    """

    format: Literal["clap-conformance-kit"]
    format_version: Literal[1]
    bundle: str
    space_id: str
    clip_space_id: str
    tools: dict[str, str]
    cases: tuple[Case, ...]


def read(folder: Path) -> Kit:
    """A kit's document.

    Raises:
        ClapError: there is none, or it is none that can be used.
    """
    path = folder / DOCUMENT
    if not path.is_file():
        raise ClapError(
            f"no conformance kit at {folder}: {DOCUMENT} was not found there. Make one: "
            "clap-export conformance BUNDLE -o DIR"
        )
    kit = schema.read(Kit, schema.read_json(path, error=ClapError), str(path))
    ids = [case.id for case in kit.cases]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise ClapError(f"{path}: the case '{twice[0]}' is there twice. Make the kit again.")
    return kit


def to_text(kit: Kit) -> str:
    """A kit's document as JSON; what is not said in it has its default."""
    return json.dumps(_said(kit), indent=1, ensure_ascii=False) + "\n"


def _said(value: Any) -> Any:
    """Plain data without the fields that have their default."""
    if isinstance(value, (Kit, Case, Tolerance, Refusal)):
        given = {f.name: (getattr(value, f.name), f.default) for f in fields(value)}
        return {
            name: _said(found)
            for name, (found, default) in given.items()
            if found != default and not (name == "tolerance" and not found)
        }
    if isinstance(value, (list, tuple)):
        return [_said(item) for item in value]
    if isinstance(value, dict):
        return {name: _said(item) for name, item in value.items()}
    return value
