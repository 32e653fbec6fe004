"""What passes a conformance kit where: readers here, and on a 64-bit ARM Debian that is emulated.

    clap-export conformance BUNDLE -o KIT
    python benchmarks/arm/run.py KIT [--reader NAME …] [--write]

The ARM machine is made on the way (see ``machine.py``; minutes, and 0.7 GB), and so is what the C++
reader needs. Emulation says that results are right; it says nothing about speed. Results are kept
reader by reader, so that some can be run again; with ``--minutes`` a long one is run in parts.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.arm.machine import CPU, QEMU, WHEELS  # noqa: E402 - run as a script
from benchmarks.arm.readers import EMULATED, READERS, Reader, Workshop  # noqa: E402
from benchmarks.page import put  # noqa: E402
from clap_export.conformance.check import Check, Verdict  # noqa: E402

RESULTS = Path(__file__).with_name("results.json")
PATIENCE = 900.0  # seconds for an answer: an engine that is emulated takes a minute to start
NEVER = (
    "CUDA, TensorRT and TensorRT-RTX on devices (Jetson): never run",
    "a real ARM processor: never run; the emulated one says nothing about speed",
)


def summary(kit: Path, reader: Reader, verdicts: list[Verdict], seconds: float) -> dict[str, Any]:
    """What is kept of a check."""
    document = json.loads((kit / "kit.json").read_text(encoding="utf-8"))
    manifest = json.loads((kit / document["bundle"] / "manifest.json").read_text(encoding="utf-8"))
    states = ("passed", "failed", "skipped")
    tasks = {
        task: dict(Counter(v.state for v in verdicts if v.task == task))
        for task in dict.fromkeys(v.task for v in verdicts)
    }
    return {
        "language": reader.language, "engine": reader.engine, "where": reader.where,
        "kit": manifest["name"], "space_id": document["space_id"], "seconds": round(seconds),
        **{state: sum(v.state == state for v in verdicts) for state in states},
        "tasks": tasks,
        "not_passed": {v.id: v.why for v in verdicts if v.state != "passed"},
    }  # fmt: skip


@dataclass(frozen=True)
class Part:
    """What a reader has answered of a kit so far, in a file beside what is built.

    Attributes:
        path: a JSON object a line, of a verdict that passed and its seconds.
    """

    path: Path

    @classmethod
    def of(cls, folder: Path, name: str, kit: Path) -> Part:
        """Of a reader, and of the kit with these very bytes."""
        sha256 = hashlib.sha256((kit / "kit.json").read_bytes()).hexdigest()
        return cls(folder / f"{name}-{sha256[:12]}.jsonl")

    def read(self) -> tuple[list[Verdict], float]:
        """Verdicts, and the seconds that they took."""
        if not self.path.exists():
            return [], 0.0
        rows = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
        verdicts = [Verdict(row["id"], row["task"], "passed") for row in rows]
        return verdicts, sum(row["seconds"] for row in rows)

    def add(self, verdict: Verdict, seconds: float) -> None:
        """Keep one that passed; others are asked again, as they may have been mended since."""
        if verdict.state == "passed":
            row = {"id": verdict.id, "task": verdict.task, "seconds": round(seconds, 3)}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def machines() -> dict[str, Any]:
    """What it ran on, and with."""
    said = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=False)
    return {
        "here": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "emulated": f"{said.stdout.splitlines()[0]}, -cpu {CPU}" if said.stdout else None,
        "packages": {name: metadata.version(name) for name in WHEELS.split()},
    }


def table(found: dict[str, dict[str, Any]]) -> str:
    """Markdown; readers in their own order."""
    lines = ["| reader | engine | where | kit of | passed | failed | skipped |"]
    lines.append("|---|---|---|---|---|---|---|")
    lines += [
        f"| {one['language']} | {one['engine']} | {one['where']} | {one['kit']} | "
        f"{one['passed']} | {one['failed']} | {one['skipped']} |"
        for name in READERS
        for key, one in found.items()
        if key.split(" ")[0] == name
    ]
    return "\n".join([*lines, "", *(f"- {line}" for line in NEVER)])


@click.command()
@click.argument("kit", type=click.Path(exists=True, path_type=Path))
@click.option("--reader", "names", multiple=True, type=click.Choice(list(READERS)),
    help="One of them; may be repeated.  [default: all]")  # fmt: skip
@click.option("--folder", type=click.Path(path_type=Path), show_default=True,
    default=Path(tempfile.gettempdir(), "clap-readers"),
    help="For the ARM machine and what is built.")  # fmt: skip
@click.option("--only", default="*", show_default=True, help="Pattern of the cases.")
@click.option("--minutes", type=click.FloatRange(0), help="Stop after about so many. What has "
    "passed is kept in --folder, and the same command goes on from there.")  # fmt: skip
@click.option("--write", is_flag=True, help="Keep the results, here and in docs/devices.md.")
def main(
    kit: Path, names: tuple[str, ...], folder: Path, only: str, minutes: float | None, write: bool
) -> None:
    """Check readers with KIT."""
    if write and only != "*":
        raise click.UsageError("--write keeps whole kits: leave --only out.")
    os.environ["PYTHONPATH"] = str(ROOT)  # the project need not be installed
    folder.mkdir(parents=True, exist_ok=True)
    workshop = Workshop(folder.resolve())
    failed = 0
    for name in names or READERS:
        reader, command = READERS[name], workshop.command(name)
        click.echo(f"{name}: {shlex.join(command)}")
        part = Part.of(folder, name, kit) if minutes is not None else None
        verdicts, before = ([], 0.0) if part is None else part.read()
        start = last = time.perf_counter()
        known = [verdict.id for verdict in verdicts]
        check = Check(kit, tuple(command), PATIENCE, only=only, without=known)
        for verdict in check.run():
            now = time.perf_counter()
            verdicts.append(verdict)
            if part is not None:
                part.add(verdict, now - last)
                if minutes is not None and now - start > 60 * minutes:
                    raise SystemExit(f"  {len(verdicts)} cases so far: give the command again.")
            last = now
            if verdict.state != "passed":
                click.echo(f"  {verdict.state}: {verdict.id}: {verdict.why}")
            elif reader.where == EMULATED:
                click.echo(f"  {len(verdicts):4} {verdict.id}", err=True)
        one = summary(kit, reader, verdicts, before + time.perf_counter() - start)
        failed += one["failed"]
        click.echo(f"  {one['passed']} passed, {one['failed']} failed, {one['skipped']} skipped, "
            f"{one['seconds']} s")  # fmt: skip
        if write:
            kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
            readers = {**kept.get("readers", {}), f"{name} {one['kit']}": one}
            text = json.dumps({**machines(), "readers": readers}, indent=1, ensure_ascii=False)
            RESULTS.write_text(text + "\n", encoding="utf-8")
            put("readers", table(readers))
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
