"""The figures: `benchmarks/reliability.json`, and the tables of `docs/reliability.md` from it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterable
from typing import Any

from clap_export.bench.machine import machine
from tests.places import ROOT

FIGURES = ROOT / "benchmarks" / "reliability.json"
PAGE = ROOT / "docs" / "reliability.md"
PARTS = ("readers", "guided", "writers", "load")
KINDS = ("accepted", "refused", "escaped", "crashed", "hung")
Row = dict[str, Any]


def keep(part: str, rows: list[Row], settings: dict[str, Any]) -> None:
    """Put a part's figures in the place of its earlier ones; other rows and parts stay.

    Args:
        part: one of :data:`PARTS`.
        rows: with a ``name`` each.
        settings: that the rows were made with.
    """
    found: dict[str, Any] = json.loads(FIGURES.read_text())
    here = machine()
    made = {
        **settings, "commit": _commit(), "cpu": here.cpu, "cores": here.cores,
        "python": here.python, "load": round(here.load_average or 0.0, 1),
    }  # fmt: skip
    old = {row["name"]: row for row in found.get(part, {}).get("rows", [])}
    new = old | {row["name"]: {**row, "made": made} for row in rows}
    found[part] = {"rows": list(new.values())}
    FIGURES.write_text(json.dumps(found, indent=1) + "\n")
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")


def written(page: str, found: dict[str, Any]) -> str:
    """The page with its tables made anew."""
    for part in PARTS:
        rows = found.get(part, {}).get("rows", [])
        made = TABLES[part](rows) + _made(rows)
        pattern = rf"(<!-- {part} -->\n).*?(<!-- /{part} -->)"
        page = re.sub(pattern, lambda m, made=made: f"{m[1]}{made}{m[2]}", page, flags=re.S)
    return page


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return done.stdout.strip()


def _made(rows: list[Row]) -> str:
    """What the rows were made by and on, a line for each machine."""
    commits: dict[str, list[str]] = {}
    for made in _all(rows, "made"):
        busy = " with other work" if made["load"] > 2 * made["cores"] else ""
        on = commits.setdefault(f"{made['cpu']}, {made['cores']} cores{busy}", [])
        on += [made["commit"]] * (made["commit"] not in on)
    return "".join(f"\nCommit {', '.join(by)} on {on}.\n" for on, by in commits.items())


def _all(rows: list[Row], key: str) -> Iterable[Any]:
    return (row[key] for row in rows if key in row)


def _table(heads: list[str], rows: Iterable[list[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _readers(rows: list[Row]) -> str:
    def cells(name: str, outcomes: Row, slowest: float, largest: int) -> list[object]:
        counts = [f"{outcomes.get(kind, 0):,}" for kind in KINDS]
        return [name, *counts, f"{slowest:.2f} s", f"{largest >> 20} MiB"]

    total = {kind: sum(row["outcomes"].get(kind, 0) for row in rows) for kind in KINDS}
    lines = [cells(row["name"], row["outcomes"], row["slowest"], row["largest"]) for row in rows]
    slowest = max(_all(rows, "slowest"), default=0.0)
    largest = max(_all(rows, "largest"), default=0)
    lines.append(cells(f"all {sum(total.values()):,}", total, slowest, largest))
    return _table(["reader", *KINDS, "slowest", "most memory for one"], lines)


def _guided(rows: list[Row]) -> str:
    lines: list[list[object]] = [
        [row["name"], f"{row['seconds']} s", f"{row['runs']:,}", row["reached"], row["found"]]
        for row in rows
    ]
    sums = [sum(_all(rows, key)) for key in ("seconds", "runs", "found")]
    lines.append(["all", f"{sums[0]:,} s", f"{sums[1]:,}", "", sums[2]])
    return _table(["reader", "time", "inputs", "branches reached", "found"], lines)


def _writers(rows: list[Row]) -> str:
    lines: list[list[object]] = [
        [row["name"], row["steps"], row["faults"], row["old"], row["new"], len(row["problems"])]
        for row in rows
    ]
    sums = [sum(_all(rows, key)) for key in ("faults", "old", "new")]
    lines.append(["all", "", *(f"{s:,}" for s in sums), sum(len(r["problems"]) for r in rows)])
    return _table(["writer", "steps", "faults", "old kept", "new whole", "problems"], lines)


def _load(rows: list[Row]) -> str:
    lines: list[list[object]] = [
        [
            *(f"{row['predictions']:,}", row["threads"], f"{row['seconds']:.0f} s"),
            *(f"{row['grown_mib']:+.2f} MiB", f"{row['grown_objects']:+,}"),
            " ".join(f"{s:+.0f}" for s in row["sizes_mib"]),
            *(f"{row['descriptors']:+d}", f"{row['new_threads']:+d}", row["different"]),
        ]
        for row in rows
    ]
    heads = ["predictions", "threads", "time", "memory in use", "objects in use"]
    heads.append("size at each tenth, MiB")
    return _table([*heads, "descriptors", "threads left", "different"], lines)


TABLES: dict[str, Callable[[list[Row]], str]] = {
    "readers": _readers, "guided": _guided, "writers": _writers, "load": _load,
}  # fmt: skip
