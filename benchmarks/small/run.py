"""What fits a small device, and how quick it is: one core, 512 MB, by the kernel's limits.

    python benchmarks/small/run.py [--write]

Needs root's rights (``limits.py``) and a quiet machine. The models are exported on the way, into a
folder that is kept (three minutes); the measurement takes three more. The core is this machine's:
times say how the forms compare; memory and sizes are what a device of 64 bits would have, too.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.page import put  # noqa: E402
from benchmarks.small.bundles import TAGGER, Carried, carried  # noqa: E402 - run as a script
from benchmarks.small.limits import Group, group  # noqa: E402
from clap_export.bench.machine import machine  # noqa: E402
from clap_export.sounds.catalogue import write_demo_sounds  # noqa: E402
from runtime.schema import to_plain  # noqa: E402

RESULTS = Path(__file__).with_name("results.json")
DEVICE = 512  # MiB
LIMITS = (48, 64, 80, 96, 128, 160, 192, 256, 384, 512, 1024, 2048)  # that are tried, in MiB
RATE, SECONDS = 44_100, 5.0  # of the first recording
PROVIDERS = {"cpu": "ONNX Runtime", "openvino": "OpenVINO"}


def measured(
    one: Carried, provider: str, recording: Path, within: Group, seconds: float
) -> dict[str, Any]:
    """Under the device's limit, or the least that is enough; and what that is."""
    form = "tagger" if one.form == TAGGER else "bundle"

    def run(mib: int, hearing: float) -> dict[str, Any] | None:
        command = [
            sys.executable, str(Path(__file__).with_name("child.py")), form, str(one.source),
            str(one.labels), str(recording), provider, str(time.monotonic()), str(hearing),
        ]  # fmt: skip
        printed = within.run(command, mib)
        return None if printed is None else json.loads(printed)

    run(max(LIMITS), 0.0)  # files are in the system's memory from here on
    needs = next((mib for mib in LIMITS if run(mib, 0.0) is not None), None)
    found = None if needs is None else run(max(needs, DEVICE), seconds)
    return {
        "model": one.model, "precision": one.precision, "form": one.form, "provider": provider,
        "bytes": one.bytes, "fits": needs is not None and needs <= DEVICE, "needs_mib": needs,
        **(found or {}),
    }  # fmt: skip


def table(cases: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| model | labels | engine | disk | runs within | RSS, most | start to first result | window | of real time |",  # noqa: E501
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one['model']}, {one['precision'].upper()} | {one['form']} | "
        f"{PROVIDERS[one['provider']]} | {one['bytes'] / 1e6:.1f} MB | {one['needs_mib']} MiB | "
        f"{one['peak_mib']:.0f} MiB | {one['first_result_s']:.2f} s | {one['window_ms']:.1f} ms | "
        f"{one['window_ms'] / one['window_s'] / 10:.2g} % |"
        for one in cases
    ]
    return "\n".join(lines)


@click.command()
@click.option("--model", "names", multiple=True, default=("clap-mini", "htsat-tiny"),
    show_default=True, help="May be repeated.")  # fmt: skip
@click.option("--provider", "providers", multiple=True, default=tuple(PROVIDERS),
    type=click.Choice(list(PROVIDERS)), help="May be repeated.  [default: both]")  # fmt: skip
@click.option("--folder", type=click.Path(path_type=Path), show_default=True,
    default=Path(tempfile.gettempdir(), "clap-small"), help="For the exported models.")  # fmt: skip
@click.option("--seconds", default=2.0, show_default=True, help="That windows are heard for.")
@click.option("--write", is_flag=True, help="Keep the figures, here and in docs/devices.md.")
def main(
    names: tuple[str, ...], providers: tuple[str, ...], folder: Path, seconds: float, write: bool
) -> None:
    """Measure each form of each model."""
    os.environ["PYTHONPATH"] = str(ROOT)
    folder.mkdir(parents=True, exist_ok=True)
    sounds = folder / "sounds"
    recording = write_demo_sounds(sounds, SECONDS, RATE)[0]
    things = list(carried(folder, sounds, names))
    cases: list[dict[str, Any]] = []
    with group(max(os.sched_getaffinity(0))) as within:
        for one in things:
            for provider in providers:
                cases.append(measured(one, provider, recording, within, seconds))
                click.echo(json.dumps(cases[-1]))
    if write:
        report = {"machine": to_plain(machine()), "limit_mib": DEVICE, "cases": cases}
        RESULTS.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        put("small", table(cases))


if __name__ == "__main__":
    main()
