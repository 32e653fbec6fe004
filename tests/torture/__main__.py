"""`python -m tests.torture`: everything, with the figures that `docs/reliability.md` shows."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from tests.torture import faults, fuzz, guided, load, report
from tests.torture.readers import READERS
from tests.torture.writers import WRITERS

MOST_GROWN = 1.0  # MiB in use after long use; of 100,000 predictions: 10 bytes in each would show
MOST_OBJECTS = 10_000  # of Python; a tenth of one in each
MOST_UNEVEN = 16.0  # MiB; what an allocator keeps depends on chance


@dataclass(frozen=True)
class Amounts:
    """How much is tried.

    Attributes:
        inputs: damaged ones of each reader.
        faults: of each writer.
        predictions: one after another.
        seconds: of sixteen threads.
        guided: seconds of guided fuzzing of each reader.
        seed: another one damages otherwise.
        only: names of readers and writers; none for all.
    """

    inputs: int
    faults: int
    predictions: int
    seconds: float
    guided: int
    seed: int
    only: tuple[str, ...]

    def of(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Those names that are asked for."""
        return tuple(name for name in names if not self.only or name in self.only)


@click.command()
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice(report.PARTS),
    help="What to try.  [default: all but guided]",
)
@click.option("--inputs", default=1000, show_default=True, help="Damaged inputs of each reader.")
@click.option("--faults", default=96, show_default=True, help="Faults of each writer.")
@click.option("--predictions", default=100_000, show_default=True)
@click.option("--seconds", default=60.0, show_default=True, help="Of sixteen threads.")
@click.option(
    "--guided",
    default=60,
    show_default=True,
    help="Seconds of guided fuzzing of each reader; needs atheris.",
)
@click.option("--seed", default=0, show_default=True, help="Another seed damages otherwise.")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([*READERS, *WRITERS]),
    help="Readers and writers to try.  [default: all]",
)
@click.option("--write", is_flag=True, help="Keep the figures in benchmarks/ and docs/.")
def main(parts: tuple[str, ...], write: bool, **amounts: object) -> None:
    """Try to break every reader and every writer; exit code 1 if something broke."""
    wanted = Amounts(**amounts)  # type: ignore[arg-type]
    broken = False
    for part in parts or ("readers", "writers", "load"):
        rows: list[report.Row] = []
        with tempfile.TemporaryDirectory() as work:
            for row, problems in TRIES[part](wanted, Path(work)):
                click.echo(f"{part}: {row}")
                rows.append(row)
                for problem in problems:
                    click.echo(f"PROBLEM {row['name']}: {problem}", err=True)
                    broken = True
        if write:
            report.keep(part, rows, {"seed": wanted.seed})
    sys.exit(1 if broken else 0)


Tried = Iterator[tuple[report.Row, list[str]]]


def _readers(amounts: Amounts, work: Path) -> Tried:
    for name in amounts.of(tuple(READERS)):
        folder = work / name.replace(" ", "-")
        folder.mkdir()
        one = fuzz.fuzz(name, amounts.inputs, folder, amounts.seed)
        yield {**vars(one), "outcomes": dict(one.outcomes)}, list(one.problems.values())


def _guided(amounts: Amounts, work: Path) -> Tried:
    for name in amounts.of(tuple(READERS)):
        one = guided.run(name, amounts.guided, work)
        yield asdict(one), [one.said] if one.found else []


def _writers(amounts: Amounts, work: Path) -> Tried:
    for one in faults.run(amounts.faults, work, amounts.of(WRITERS)):
        yield asdict(one), one.problems


def _load(amounts: Amounts, work: Path) -> Tried:
    from tests.tiny import bundle

    made = bundle.build(work / "bundle")
    for one in (
        load.predict_for_long(made, amounts.predictions),
        load.share_for_long(made, 16, amounts.seconds),
    ):
        row = {"name": f"{one.threads} threads", **asdict(one)}
        yield row, [] if steady(one) else ["it grew, or an answer was another"]


TRIES = {"readers": _readers, "guided": _guided, "writers": _writers, "load": _load}


def steady(found: load.Load) -> bool:
    """Whether nothing grew, and every answer was the first one's."""
    grew = found.grown_mib >= MOST_GROWN or found.grown_objects >= MOST_OBJECTS
    grew |= found.levelled_mib >= MOST_UNEVEN
    return not (grew or found.descriptors or found.new_threads or found.different)


if __name__ == "__main__":
    main()
