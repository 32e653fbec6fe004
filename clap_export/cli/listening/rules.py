"""What counts as an event of a single label: ``--rule``, and files of rules."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from clap_export.cli import options
from runtime import ClapError, Rule, files
from runtime.arguments import real, shown
from runtime.problems import listed

# As they are typed, and what they are called in a rule.
NAMES = {"on": "on", "off": "off", "min-duration": "minimum", "min-gap": "gap"}
EXAMPLE = "siren:on=0.8,off=0.5,min-duration=1,min-gap=2"
MOST_BYTES = 16 << 20  # of a file

Given = Mapping[str, Mapping[str, object]]


def typed(texts: Sequence[str]) -> Given:
    """What ``LABEL:NAME=NUMBER,…`` says, by label. The label ends at the last colon.

    Raises:
        ClapError: a text is not of this form, or a label comes twice (all are listed).
    """
    found: dict[str, dict[str, object]] = {}
    problems: list[str] = []
    for text in texts:
        label, colon, rest = options.TEXT.convert(text, None, None).rpartition(":")
        values: dict[str, object] = {}
        pairs = [pair.partition("=") for pair in rest.split(",")]
        for name, sign, value in pairs:
            try:
                values[name.strip()] = float(value)
            except ValueError:
                sign = ""
            if not sign:
                problems.append(f"{shown(text)} is not of the form LABEL:NAME=NUMBER,…")
                break
        else:
            if not colon or not label:
                problems.append(f"{shown(text)} names no label")
            if label in found:
                problems.append(f"{shown(label)} has two rules")
            found[label] = values
            twice = len(values) < len(pairs)
            problems += [f"{shown(text)} names something twice"] * twice
    if problems:
        raise ClapError(f"--rule: {listed(problems)}. For example: --rule {EXAMPLE}")
    return found


def read(path: Path) -> Given:
    """A TOML file with a table for each label.

    Raises:
        ClapError: it cannot be read, or is no such file.
    """
    data = files.read(path, most=MOST_BYTES)
    toml = _toml()
    try:
        found: dict[str, Any] = toml.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ClapError(f"'{path}' cannot be read as TOML ({error}).") from error
    wrong = [shown(name) for name, table in found.items() if not isinstance(table, dict)]
    if wrong:
        raise ClapError(
            f"'{path}': {', '.join(wrong)} stands outside of a label's table, which begins with "
            '[LABEL] or, of a label with spaces, ["THE LABEL"].'
        )
    return found


def made(base: Rule, given: Given, labels: Sequence[str], where: str) -> dict[str, Rule]:
    """Rules by label: the common one, with what is said of the label in its place.

    Raises:
        ClapError: a label that is not looked for, a name that is none, or a value that cannot be
            (all are listed).
    """
    known = set(labels)
    found: dict[str, Rule] = {}
    problems: list[str] = []
    for label, values in given.items():
        here = [] if label in known else [f"{shown(label)} is not among the labels"]
        for name, value in values.items():
            if name not in NAMES:
                here.append(
                    f"{shown(label)} has {shown(name)}, which is none of {', '.join(NAMES)}"
                )
            elif real(value) is None:
                here.append(f"{shown(label)} has {name}={shown(value)}, which is no number")
        problems += here
        if not here:
            try:
                found[label] = replace(base, **{NAMES[n]: real(v) for n, v in values.items()})
            except ClapError as error:
                problems.append(f"{shown(label)} has {str(error).removesuffix('.')}")
    if problems:
        raise ClapError(f"{where}: {listed(problems)}.")
    return found


def _toml() -> Any:
    for name in ("tomllib", "tomli"):  # the first comes with Python 3.11
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ClapError("--rules needs Python 3.11, or tomli: pip install tomli")
