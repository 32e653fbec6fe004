"""What ``tag`` prints: a table for people, an object for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clap_export.cli import console
from clap_export.cli.console import cell
from clap_export.command import terminal
from clap_export.library.agreement import Agreement
from clap_export.library.audit import Audit
from clap_export.library.tagging import Looked

SHOWN = 10  # confusions and suspects


@dataclass(frozen=True)
class Report:
    """What was done.

    Attributes:
        table: that was written.
        names: of the labels.
        looked: what was seen of the library.
        seconds: that labelling took.
        truth: labels that people gave, or None.
        agreement: with them; None without any of them.
        audit: or None where none was asked for.
    """

    table: Path
    names: Sequence[str]
    looked: Looked
    seconds: float
    truth: Path | None
    agreement: Agreement | None
    audit: Audit | None


def print_json(report: Report) -> None:
    """One object."""
    looked = report.looked
    said: dict[str, Any] = {
        "table": str(report.table), "recordings": looked.recordings, "none": looked.none,
        "seconds": report.seconds,
        "best": dict(zip(report.names, looked.counts.tolist(), strict=True)),
    }  # fmt: skip
    if report.truth is not None:
        said["agreement"] = None if report.agreement is None else asdict(report.agreement)
    if report.audit is not None:
        said["suspects"] = len(report.audit.suspects)
        said["mutual_information"] = report.audit.information
    terminal.say_json(said)


def print_table(report: Report) -> None:
    """Labels and their counts, and what else was asked for."""
    looked, agreement = report.looked, report.agreement
    named = ("given", "precision", "recall") if agreement is not None else ()
    table = console.new_table("label", "recordings", *named, left=("label",))
    more = {} if agreement is None else {each.label: each for each in agreement.labels}
    for name, count in zip(report.names, looked.counts.tolist(), strict=True):
        row = [cell(name), f"{count:,}"]
        if name in more:
            one = more[name]
            row += [f"{one.given:,}", _percent(one.precision), _percent(one.recall)]
        table.add_row(*row)
    table.add_row(cell("(none of these)"), f"{looked.none:,}", *[""] * len(named))
    console.print_table(table)
    if report.truth is not None:
        _print_agreement(agreement, report.truth)
    if report.audit is not None:
        _print_audit(report.audit)
    terminal.say(f"{looked.recordings:,} recordings in {report.seconds:.2f} s -> {report.table}")


def _print_agreement(found: Agreement | None, truth: Path) -> None:
    if found is None:
        terminal.warn(
            f"Warning: no recording of the library has a label of '{truth}' that is among the "
            "labels."
        )
        return
    low, high = found.interval
    terminal.say(
        f"{found.recordings:,} with a given label: accuracy {100 * found.accuracy:.1f} % "
        f"({100 * low:.1f}-{100 * high:.1f}), kappa {found.kappa:.2f}, mean average precision "
        f"{100 * found.average_precision:.1f} %"
    )
    for each in found.confusions[:SHOWN]:
        other = "none of these" if each.found is None else repr(each.found)
        terminal.say(f"  {each.count:,} of {each.given!r} taken for {other}")
    if found.unknown:
        terminal.warn(
            "Warning: not among the labels, and passed over: "
            f"{', '.join(map(repr, found.unknown[:SHOWN]))}."
        )


def _print_audit(found: Audit) -> None:
    suspects = found.suspects
    terminal.say(
        f"{len(suspects):,} of {len(found.keys):,} recordings have neighbours with another label; "
        f"clusters and labels share {100 * found.information:.0f} % of their information"
    )
    for i in suspects[:SHOWN]:
        path, member = found.keys[i]
        where = path if member is None else f"{path}: {member}"
        terminal.say(f"  {found.labels[i]!r}, rather {found.rather[i]!r}: {where}")


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
