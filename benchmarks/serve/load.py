"""Throughput and latency of the service against the number of clients.

    python benchmarks/serve/load.py BUNDLE … [--htsat] [--quick] [--json OUT] [--markdown OUT]

``--htsat`` adds HTSAT-tiny with generated weights, and beside it the service that people write
themselves around transformers' pipeline, of the same weights (:mod:`benchmarks.serve.plain`).

- A clip of one second (48 kHz, mono, 16 bits) is classified against ten labels, over and over, by
  1 … 256 clients at a time on the same machine, whose own cost is in the numbers.
- The encoder alone: windows in a second when it is given windows by as many threads as the service
  has lanes, and nothing else is done.
- ``single``: every window is a batch of its own, one after the other on all cores; ``batched``:
  the same with batches of 8; ``lanes``: the service's own choice.
- Short beside long: one client with the clip of one second, alone and while four others classify
  an hour-long file each, again and again.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.serve import client, process
from clap_export.bench.machine import machine
from clap_export.sounds.catalogue import SOUNDS
from runtime import Bundle, Encoder
from runtime.clips.clip import Piece

RATE = 48_000
LABELS = ["dog", "rain", "siren", "speech", "music", "wind", "car", "bell", "footsteps", "water"]
CLIENTS, QUICK_CLIENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256), (1, 4, 16, 64, 256)
WAYS: dict[str, tuple[object, ...]] = {
    "lanes": (),
    "batched": ("--lanes", 1, "--max-batch", 8),
    "single": ("--lanes", 1, "--max-batch", 1),
}
LONG_FILES = 4
PLAIN_CLIENTS = 16


def wav(seconds: float) -> bytes:
    """A recording of the demo's sounds."""
    file = io.BytesIO()
    sound = SOUNDS["rain"](RATE, 10.0)
    samples = np.resize(sound, round(seconds * RATE))
    soundfile.write(file, samples, RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def encoder_alone(bundle: Path, seconds: float) -> float:
    """Windows in a second, of the encoder and nothing else."""
    with Encoder(bundle) as encoder:
        lanes = encoder.many_at_once
        window = encoder.manifest.audio.window_samples
        noise = np.random.default_rng(0).standard_normal((1, window)).astype(np.float32)
        piece = Piece(0.1 * noise, (0,), (window,), True)
        encoder.embed_together([piece], one_thread=lanes > 1)
        counts, end = [0] * lanes, time.perf_counter() + seconds

        def run(lane: int) -> None:
            while time.perf_counter() < end:
                encoder.embed_together([piece], one_thread=lanes > 1)
                counts[lane] += 1

        threads = [threading.Thread(target=run, args=(lane,)) for lane in range(lanes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return sum(counts) / seconds


def crowds(running: process.Running, clients: tuple[int, ...], seconds: float) -> list[Any]:
    """The clip of one second, by more and more clients."""
    request, rows = client.post("/v1/classify", wav(1.0)), []
    for count in clients:
        before, began = running.cpu_seconds(), time.perf_counter()
        load = asyncio.run(client.closed_loop(running.port, request, count, seconds))
        cpu = (running.cpu_seconds() - before) / (time.perf_counter() - began)
        rows.append({"clients": count, **client.dumped(load), "server_cores": round(cpu, 2)})
        print(rows[-1], file=sys.stderr)
    return rows


def beside_long(running: process.Running, seconds: float) -> dict[str, Any]:
    """The clip of one second alone, and beside hour-long files."""
    short, long = client.post("/v1/classify", wav(1.0)), client.post("/v1/classify", wav(3600.0))

    async def run() -> dict[str, Any]:
        idle = await client.closed_loop(running.port, short, 1, seconds)
        others = [asyncio.create_task(forever()) for _ in range(LONG_FILES)]
        await asyncio.sleep(5.0)
        busy = await client.closed_loop(running.port, short, 1, 3 * seconds)
        state = running.state()
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        ratio = busy.percentile(99) / idle.percentile(99)
        found = {"idle": client.dumped(idle), "busy": client.dumped(busy)}
        return {**found, "p99_ratio": round(ratio, 2), "state": state}

    async def forever() -> None:
        while True:
            await client.once(running.port, long)

    found = asyncio.run(run())
    print(found, file=sys.stderr)
    return found


def measured(
    bundle: Path, seconds: float, clients: tuple[int, ...], checkpoint: Path | None
) -> dict[str, Any]:
    """All of a bundle."""
    found: dict[str, Any] = {"encoder_windows_per_second": round(encoder_alone(bundle, seconds), 1)}
    print(found, file=sys.stderr)
    for way, options in WAYS.items():
        with process.ours(bundle, LABELS, *options) as running:
            found[way] = crowds(running, clients, seconds)
    with process.ours(bundle, LABELS) as running:
        found["beside_long"] = beside_long(running, 2 * seconds)
    if checkpoint is not None:
        with process.plain(checkpoint, LABELS) as running:
            # More than these wait for minutes behind one another.
            few = tuple(count for count in clients if count <= PLAIN_CLIENTS)
            found["plain"] = crowds(running, few, 2 * seconds)
    return found


def markdown(name: str, found: dict[str, Any]) -> str:
    """Tables for the docs."""
    ways = [way for way in (*WAYS, "plain") if way in found]
    lines = [f"| {name}: clients | {' | '.join(f'{w}: req/s, p50, p99 (ms)' for w in ways)} |"]
    lines.append("|---" * (len(ways) + 1) + "|")
    for i, row in enumerate(found[ways[0]]):
        cells = [
            f"{r['rate']:.1f}, {r['p50_ms']:.0f}, {r['p99_ms']:.0f}" if r else "-"
            for r in (found[way][i] if i < len(found[way]) else None for way in ways)
        ]
        lines.append(f"| {row['clients']} | {' | '.join(cells)} |")
    alone, beside = found["encoder_windows_per_second"], found["beside_long"]
    best = max(row["rate"] for row in found["lanes"])
    lines += [
        "",
        f"The encoder alone runs {alone:.1f} windows in a second; the service reaches "
        f"{best:.1f} ({100 * best / alone:.0f} %). A clip of one second takes "
        f"{beside['idle']['p50_ms']:.0f} ms (p99 {beside['idle']['p99_ms']:.0f}) alone, and "
        f"{beside['busy']['p50_ms']:.0f} ms (p99 {beside['busy']['p99_ms']:.0f}, "
        f"{beside['p99_ratio']:.1f} times) beside {LONG_FILES} hour-long files.",
    ]
    return "\n".join(lines)


def htsat(folder: Path) -> tuple[Path, Path]:
    """A checkpoint of HTSAT-tiny's shape, and its bundle."""
    checkpoint, bundle = folder / "htsat-tiny", folder / "bundle"
    script = process.ROOT / "benchmarks" / "originals" / "checkpoint.py"
    subprocess.run([sys.executable, script, "transformers", checkpoint], check=True)
    words = ["-m", "clap_export", "--ckpt", checkpoint, "--out", bundle]
    subprocess.run([sys.executable, *words], check=True, cwd=process.ROOT, stdout=sys.stderr)
    return checkpoint, bundle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="*", type=Path)
    parser.add_argument("--htsat", action="store_true")
    parser.add_argument("--quick", action="store_true", help="fewer clients, 4 s each")
    parser.add_argument("--seconds", type=float, help="for each number of clients")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    given = parser.parse_args()
    clients = QUICK_CLIENTS if given.quick else CLIENTS
    seconds = given.seconds or (4.0 if given.quick else 15.0)
    report: dict[str, Any] = {"machine": asdict(machine()), "models": {}}
    with tempfile.TemporaryDirectory() as folder:
        wanted: list[tuple[str, Path, Path | None]] = [
            (Bundle(b).manifest.name, b, None) for b in given.bundles
        ]
        if given.htsat:
            checkpoint, bundle = htsat(Path(folder))
            wanted.append(("htsat-tiny", bundle, checkpoint))
        for name, bundle, checkpoint in wanted:
            report["models"][name] = measured(bundle, seconds, clients, checkpoint)
    tables = "\n\n".join(markdown(name, found) for name, found in report["models"].items())
    print(tables)
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if given.markdown:
        given.markdown.write_text(tables + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
