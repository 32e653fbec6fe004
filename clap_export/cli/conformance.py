"""The verb ``conformance``: a kit of a bundle, and a reader that is judged by one.

Only click is imported here, as in :mod:`clap_export.cli`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clap_export.cli.options import PATH
from clap_export.command import terminal
from clap_export.command.ending import DONE, GATE_FAILED

if TYPE_CHECKING:
    from clap_export.conformance.check import Verdict

FOR_CHECKS = ("seconds", "allowed", "only", "as_json")


@click.command()
@click.argument("source", metavar="BUNDLE|KIT", type=PATH)
@click.option("-o", "--output", type=PATH, help="Folder to make, with the kit of BUNDLE.")
@click.option("--labels", help="That scores are asked of, as for classify.  [default: a dozen]")
@click.option("--check", metavar="COMMAND", help="Reader that is asked what is in KIT.")
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True),
    help="That the reader may take for an answer.  [default: 60]",
)  # fmt: skip
@click.option(
    "--allow-skipped", "allowed", metavar="TASKS",
    help="Tasks, between commas, that the reader need not do. Optional cases never need be done.",
)  # fmt: skip
@click.option("--only", metavar="PATTERN", help="Cases to ask for, such as 'resample/*'.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def conformance(
    source: Path, output: Path | None, labels: str | None, check: str | None, **given: Any
) -> int:
    """Show that a reader of bundles, in any language, gives what clap-export gives.

    With -o: write a kit of BUNDLE: questions, and what this runtime answers. With --check: start
    COMMAND, ask it what is in KIT, and print what it gets wrong; the exit code is 1 if anything.
    """
    if (output is None) == (check is None):
        raise click.UsageError("give -o DIR to write a kit, or --check COMMAND to check a reader.")
    if check is not None:
        if labels is not None:
            raise click.UsageError("--labels are for a kit that is written: they are in it.")
        return _check(source, check, **given)
    if any(given[name] for name in FOR_CHECKS):
        raise click.UsageError("--seconds, --allow-skipped, --only and --json go with --check.")
    from clap_export.cli import console
    from clap_export.cli.classify import labels_of
    from clap_export.conformance.write import write

    assert output is not None
    with console.stages() as progress:
        made = write(source, output, labels_of(labels) if labels else None, progress)
    terminal.say(f"{len(made.cases)} cases of {source} -> {output}")
    return DONE


def _check(
    kit: Path,
    command: str,
    seconds: float | None,
    allowed: str | None,
    only: str | None,
    as_json: bool,
) -> int:
    from clap_export.conformance.check import Check
    from runtime.conformance.tasks import TASKS

    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise click.UsageError(
            f"--check {command!r} cannot be split into words: {error}."
        ) from None
    tasks = [task.strip() for task in (allowed or "").split(",") if task.strip()]
    unknown = [task for task in tasks if task not in TASKS]
    if unknown:
        raise click.UsageError(f"--allow-skipped {unknown[0]}: the tasks are {', '.join(TASKS)}.")
    check = Check(kit, words, seconds or 60.0, frozenset(tasks), only or "*")
    verdicts = list(check.run())
    failed = sum(verdict.state == "failed" for verdict in verdicts)
    if as_json:
        _print_json(verdicts)
    else:
        _print_table(verdicts)
    return GATE_FAILED if failed else DONE


def _print_json(verdicts: Iterable[Verdict]) -> None:
    from runtime.schema import to_plain

    cases = [to_plain(verdict) for verdict in verdicts]
    states = ("passed", "failed", "skipped")
    counts = {state: sum(case["state"] == state for case in cases) for state in states}
    terminal.say_json({**counts, "cases": cases})


def _print_table(verdicts: list[Verdict]) -> None:
    from clap_export.cli import console

    table = console.new_table(
        "task", "passed", "failed", "skipped", "most of a limit", left=("task",)
    )
    for task in dict.fromkeys(verdict.task for verdict in verdicts):
        own = [verdict for verdict in verdicts if verdict.task == task]
        counts = [
            str(sum(v.state == state for v in own) or "")
            for state in ("passed", "failed", "skipped")
        ]
        shares = [d.share for v in own if v.state == "passed" for d in v.distances.values()]
        table.add_row(task, *counts, f"{100 * max(shares):.2g} %" if shares else "")
    console.print_table(table)
    for verdict in verdicts:
        if verdict.state != "passed":
            terminal.say(f"{verdict.state}: {verdict.id}: {verdict.why}")
    failed = sum(verdict.state == "failed" for verdict in verdicts)
    passed = sum(verdict.state == "passed" for verdict in verdicts)
    skipped = len(verdicts) - passed - failed
    terminal.say(f"{passed} passed, {failed} failed, {skipped} skipped")
