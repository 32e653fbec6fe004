"""What listening costs on one core, and how late an event is known.

    OMP_WAIT_POLICY=passive python benchmarks/listening.py BUNDLE … [--htsat] [--json OUT]

``--htsat`` adds HTSAT-tiny with generated weights, exported into a temporary folder (takes a
minute). The stream is made of the demo's sounds, 4 s each, between 6 s of faint noise, and is fed
in chunks of 0.1 s as fast as they are heard.

- Real-time factor: seconds of stream heard in a second. CPU share: the core's time for a second of
  stream, in percent; both without and with a gate of -50 dBFS.
- Latency: from a sound's onset until the event of its label was told: the stream's clock then, and
  the time that hearing that chunk took. Sounds that had no event are counted. Generated weights
  know no sounds: theirs has no meaning and is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from clap_export.bench.machine import machine
from clap_export.sounds.catalogue import SOUNDS
from runtime import Classifier, Events, Listener, Rule
from runtime.manifest import read_manifest

RATE, CHUNK = 48_000, 4_800
SOUND, PAUSE, HOP = 4.0, 6.0, 0.5
GATE = -50.0
RULE = Rule(on=0.5, off=0.3, gap=1.0)


@dataclass(frozen=True)
class Cost:
    """Of hearing the stream once.

    Attributes:
        real_time_factor: seconds of stream heard in a second.
        cpu_share: percent of one core while it keeps up with the stream.
        windows: given to the encoder.
        silent: windows that were not.
        latencies: seconds from the onset to the event, of each sound that had one; or None.
    """

    real_time_factor: float
    cpu_share: float
    windows: int
    silent: int
    latencies: list[float] | None


def stream() -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Mono float32 at :data:`RATE`, and the onsets and names of the sounds in it."""
    rng = np.random.default_rng(0)
    parts: list[np.ndarray] = []
    onsets: list[tuple[float, str]] = []
    at = 0.0
    for name, sound in SOUNDS.items():
        parts.append((1e-4 * rng.standard_normal(round(PAUSE * RATE))).astype(np.float32))
        onsets.append((at + PAUSE, name))
        parts.append(sound(RATE, SOUND)[: round(SOUND * RATE)])
        at += PAUSE + SOUND
    return np.concatenate(parts), onsets


def hear(bundle: Path, gate: float | None, meaningful: bool, repeats: int) -> Cost:
    """Feed the stream some times over."""
    samples, onsets = stream()
    samples = np.tile(samples, repeats)
    length = len(samples) / repeats / RATE
    waiting = [(i * length + at, name) for i in range(repeats) for at, name in onsets]
    late: list[float] = []
    with Classifier(bundle, list(SOUNDS), threads=1) as classifier:
        listener = Listener(classifier, RATE, hop=HOP, gate=gate)
        events = Events(RULE)
        listener.classifier.encoder.open_audio()
        Listener(classifier, RATE, hop=HOP).feed(samples[: 12 * RATE])  # warm
        wall, cpu = time.perf_counter(), time.process_time()
        for at in range(0, len(samples), CHUNK):
            start = time.perf_counter()
            for segment in listener.feed(samples[at : at + CHUNK]):
                for event in events.push(segment):
                    if event.phase == "ended":
                        continue
                    due = (
                        each for each in waiting
                        if each[1] == event.label
                        and each[0] <= listener.seconds < each[0] + SOUND + PAUSE
                    )  # fmt: skip
                    onset = next(due, None)
                    if onset is not None:
                        waiting.remove(onset)
                        late.append(listener.seconds - onset[0] + time.perf_counter() - start)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    seconds = listener.seconds
    return Cost(
        round(seconds / wall, 2), round(100 * cpu / seconds, 2), listener.counts.windows,
        listener.counts.silent, [round(x, 3) for x in late] if meaningful else None,
    )  # fmt: skip


def htsat(folder: Path) -> Path:
    """A bundle of HTSAT-tiny."""
    from benchmarks.generated.checkpoints import clap_model
    from clap_export.checkpoints import load
    from clap_export.export.pack import write_bundle

    write_bundle(load(clap_model(folder / "htsat-tiny-checkpoint", fused=False)), folder / "bundle")
    return folder / "bundle"


def table(found: dict[str, dict[str, Cost]], repeats: int) -> str:
    """Markdown."""
    lines = [
        "| model | gate | real-time factor | CPU share of one core | windows heard | "
        "latency: median, worst (sounds told) |",
        "|---|---|---|---|---|---|",
    ]
    for name, costs in found.items():
        for gate, cost in costs.items():
            late = cost.latencies
            told = "-" if not late else (
                f"{statistics.median(late):.2f} s, {max(late):.2f} s "
                f"({len(late)} of {repeats * len(SOUNDS)})"
            )  # fmt: skip
            heard = f"{cost.windows} of {cost.windows + cost.silent}"
            lines.append(
                f"| {name} | {gate} | {cost.real_time_factor:g} x | {cost.cpu_share:.1f} % | "
                f"{heard} | {told} |"
            )
    return "\n".join(lines)


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="*", type=Path)
    parser.add_argument("--htsat", action="store_true")
    parser.add_argument("--repeats", type=int, default=1, help="of the stream, which lasts 2 min")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    found: dict[str, dict[str, Cost]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bundles = [(path, True) for path in given.bundles]
        if given.htsat:
            bundles.append((htsat(Path(folder)), False))
        for path, meaningful in bundles:
            name = read_manifest(path).name if meaningful else "HTSAT-tiny (generated)"
            found[name] = {
                "none": hear(path, None, meaningful, given.repeats),
                f"{GATE:g} dBFS": hear(path, GATE, meaningful, given.repeats),
            }
    print(table(found, given.repeats))
    if given.json is not None:
        costs = {n: {g: asdict(c) for g, c in each.items()} for n, each in found.items()}
        report = {"machine": asdict(machine()), "hop": HOP, "costs": costs}
        given.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
