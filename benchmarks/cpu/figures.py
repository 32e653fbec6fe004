"""What a script beside this file has measured, kept with the machine that it was measured on."""

from __future__ import annotations

import json
from pathlib import Path

from clap_export.bench.machine import machine
from runtime.files import writing
from runtime.schema import to_plain


def keep(path: Path, **found: object) -> None:
    """Write a report.

    Args:
        path: of the report.
        found: its parts beside ``machine``, of plain values.
    """
    report = {"machine": to_plain(machine()), **found}
    with writing(path) as part:
        part.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
