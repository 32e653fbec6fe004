"""`python -m tests.torture`: everything, with the figures that `docs/reliability.md` shows."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tests.places import ROOT
from tests.torture import faults, fuzz, load
from tests.torture.readers import READERS

REPORT = ROOT / "benchmarks" / "reliability.json"
PAGE = ROOT / "docs" / "reliability.md"
MOST_GROWN = 4.0  # MiB in use after long use; of 100,000 predictions: 42 bytes in each would show
MOST_UNEVEN = 16.0  # MiB; what an allocator keeps depends on chance


@click.command()
@click.option("--inputs", default=1000, show_default=True, help="Damaged inputs of each reader.")
@click.option("--faults", "most", default=250, show_default=True, help="Faults of each writer.")
@click.option("--predictions", default=100_000, show_default=True)
@click.option("--seconds", default=60.0, show_default=True, help="Of sixteen threads.")
@click.option("--seed", default=0, show_default=True, help="Another seed damages otherwise.")
@click.option("--only", "names", multiple=True, help="Readers to try; nothing else is done then.")
@click.option("--write", is_flag=True, help="Keep the figures in benchmarks/ and docs/.")
def main(
    inputs: int, most: int, predictions: int, seconds: float, seed: int, names: tuple[str, ...],
    write: bool,
) -> None:  # fmt: skip
    """Try to break every reader and every writer; exit code 1 if something broke."""
    found: dict[str, Any] = {"seed": seed, "readers": [], "writers": [], "load": []}
    problems: list[str] = []
    with tempfile.TemporaryDirectory() as work:
        for name in names or READERS:
            folder = Path(work) / name.replace(" ", "-")
            folder.mkdir()
            one = fuzz.fuzz(name, inputs, folder, seed)
            click.echo(f"{name}: {dict(one.outcomes)}, slowest {one.slowest:.2f} s")
            problems += [f"{name}: {problem}" for problem in one.problems.values()]
            found["readers"].append({**vars(one), "outcomes": dict(one.outcomes)})
        if not names:
            for injected in faults.run(most, Path(work)):
                click.echo(f"{injected.name}: {injected.faults} faults")
                problems += injected.problems
                found["writers"].append(asdict(injected))
            bundle = _bundle(Path(work))
            for one in (
                load.predict_for_long(bundle, predictions),
                load.share_for_long(bundle, 16, seconds),
            ):
                click.echo(str(one))
                found["load"].append(asdict(one))
                problems += [] if steady(one) else [f"load: {one}"]
    for problem in problems:
        click.echo(f"PROBLEM {problem}", err=True)
    if write:
        REPORT.write_text(json.dumps(found, indent=1) + "\n")
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    sys.exit(1 if problems else 0)


def steady(found: load.Load) -> bool:
    """Whether nothing grew, and every answer was the first one's."""
    grew = found.grown_mib >= MOST_GROWN or found.levelled_mib >= MOST_UNEVEN
    return not (grew or found.descriptors or found.new_threads or found.different)


def written(page: str, found: dict[str, Any]) -> str:
    """The page with its tables made anew."""
    tables = {"readers": _readers(found), "writers": _writers(found), "load": _loads(found)}
    for name, table in tables.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
        page = re.sub(pattern, lambda m, table=table: f"{m[1]}{table}{m[2]}", page, flags=re.S)
    return page


def _rows(heads: list[str], rows: list[list[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _readers(found: dict[str, Any]) -> str:
    kinds = ("accepted", "refused", "escaped", "crashed", "hung")
    rows: list[list[object]] = [
        [
            *(one["name"], *(one["outcomes"].get(kind, 0) for kind in kinds)),
            *(f"{one['slowest']:.2f} s", f"{one['largest'] >> 20} MiB"),
        ]
        for one in found["readers"]
    ]
    return _rows(["reader", *kinds, "slowest", "most memory for one"], rows)


def _writers(found: dict[str, Any]) -> str:
    rows: list[list[object]] = [
        [w["name"], w["steps"], w["faults"], w["old"], w["new"], len(w["problems"])]
        for w in found["writers"]
    ]
    return _rows(["writer", "steps", "faults", "old kept", "new whole", "problems"], rows)


def _loads(found: dict[str, Any]) -> str:
    rows: list[list[object]] = [
        [
            *(f"{one['predictions']:,}", one["threads"], f"{one['seconds']:.0f} s"),
            *(f"{one['grown_mib']:+.1f} MiB", " ".join(f"{s:+.0f}" for s in one["sizes_mib"])),
            f"{one['descriptors']:+d}",
            *(f"{one['new_threads']:+d}", one["different"]),
        ]
        for one in found["load"]
    ]
    heads = ["predictions", "threads", "time", "memory in use", "size at each tenth, MiB"]
    return _rows([*heads, "descriptors", "threads left", "different"], rows)


def _bundle(work: Path) -> Path:
    from tests.tiny import bundle

    return bundle.build(work / "load-bundle")


if __name__ == "__main__":
    main()
