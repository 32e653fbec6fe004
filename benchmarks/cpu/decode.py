"""Recordings to a model's samples, by format: decoding alone, and with resampling.

    python benchmarks/cpu/decode.py [--write]

The same 5 s, mono, at 44.1 kHz (Opus: 48), once as noise-like rain and once as a siren, in each
format; to 24 kHz. Beside ours stands what the libraries take that it is made of, each in one call
on the whole recording: soundfile, and soxr at the same quality. They take turns. Writes decode.json
beside this file; half a minute on a quiet machine.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import soundfile
import soxr

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.cpu import figures  # noqa: E402 - run as a script
from clap_export.bench.timing import interleave, latency  # noqa: E402
from clap_export.sounds import catalogue  # noqa: E402
from runtime import audio  # noqa: E402

RESULTS = Path(__file__).with_name("decode.json")
FORMATS = {
    "WAV, 16 bit": ("wav", "PCM_16", 44_100), "WAV, float": ("wav", "FLOAT", 44_100),
    "FLAC, 16 bit": ("flac", "PCM_16", 44_100), "MP3": ("mp3", "MPEG_LAYER_III", 44_100),
    "Opus": ("opus", "OPUS", 48_000),
}  # fmt: skip
SOUNDS = (catalogue.rain, catalogue.siren)
SECONDS, RATE = 5.0, 24_000


def written(folder: Path, name: str) -> list[Path]:
    """The sounds in a format."""
    suffix, subtype, rate = FORMATS[name]
    container = {"opus": "OGG"}.get(suffix)
    paths: list[Path] = []
    for i, sound in enumerate(SOUNDS):
        paths.append(folder / f"{subtype}-{i}.{suffix}")
        samples = sound(rate, SECONDS).astype(np.float32)
        soundfile.write(paths[-1], samples, rate, subtype=subtype, format=container)
    return paths


def ours(path: Path) -> int:
    """Decoded and resampled as the runtime has it: block by block."""
    with audio.Stream(path, rate=RATE) as stream:
        return sum(len(block) for block in stream.blocks())


def theirs(path: Path) -> int:
    """In two calls."""
    samples, rate = soundfile.read(path, dtype="float32")
    return len(soxr.resample(samples, rate, RATE))


@click.command()
@click.option("--runs", default=60, show_default=True)
@click.option("--write", is_flag=True, help="Keep the figures in decode.json.")
def main(runs: int, write: bool) -> None:
    """Measure all formats."""
    cases: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in FORMATS:
            paths = written(Path(folder), name)
            calls: dict[str, Callable[[Path], object]] = {
                "decode": audio.decode,
                "decode alone, soundfile": partial(soundfile.read, dtype="float32"),
                "decode and resample": ours,
                "decode and resample, soundfile and soxr": theirs,
            }
            tasks = [partial(call, path) for call in calls.values() for path in paths]
            times = interleave(tasks, runs, 5)
            each = (times[i : i + len(paths)] for i in range(0, len(times), len(paths)))
            for what, found in zip(calls, each, strict=True):
                took = latency(*found)
                cases.append({
                    "format": name, "what": what, "median_ms": round(took.median_ms, 3),
                    "p90_ms": round(took.p90_ms, 3),
                })  # fmt: skip
                click.echo(json.dumps(cases[-1]))
    if write:
        figures.keep(RESULTS, cases=cases)


if __name__ == "__main__":
    main()
