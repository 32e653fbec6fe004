"""How much of the encoder's own rate is left when recordings become a library.

    python -m benchmarks.library.throughput BUNDLE [--count 1000]

Generated recordings of one window each, at the model's rate, so that decoding is quick. The
encoder's own rate is that of the same windows in memory, on as many threads as are best for it.
Writes benchmarks/library/throughput.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

from clap_export.library import sources, store
from clap_export.library.embed import Work, described, embed
from runtime import Encoder

ROUNDS = 3
RESULT = Path(__file__).with_name("throughput.json")


def own_rate(encoder: Encoder, windows: np.ndarray) -> tuple[float, float]:
    """Windows a second, of windows in memory, and seconds of a core for each."""
    threads = encoder.many_at_once
    size = encoder.batch_size

    def one(at: int) -> None:
        if threads > 1:
            encoder.embed_windows(windows[at : at + 1], one_thread=True)
        else:
            encoder.embed_windows(windows[at : at + size])

    step = 1 if threads > 1 else size
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(0, len(windows), step)))  # warm
        began, used = time.perf_counter(), time.process_time()
        list(pool.map(one, range(0, len(windows), step)))
        used = time.process_time() - used
        return len(windows) / (time.perf_counter() - began), used / len(windows)


def library_rate(encoder: Encoder, bundle: Path, sounds: Path, out: Path) -> tuple[float, float]:
    """Recordings a second, from the listing of the folder to the last part on the disk, and seconds
    of a core for each."""
    began, used = time.perf_counter(), time.process_time()
    wanted = described(encoder, bundle, "float32", False)
    found = sources.find([str(sounds)])
    with store.opened(out, wanted) as opened:
        summary = embed(encoder, opened, found, Work(), lambda _: None)
    assert not summary.failed
    seconds, used = time.perf_counter() - began, time.process_time() - used
    return summary.embedded / seconds, used / summary.embedded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    given = parser.parse_args()
    with Encoder(given.bundle) as encoder, tempfile.TemporaryDirectory() as work:
        spec = encoder.manifest.audio
        rng = np.random.default_rng(0)
        sounds = Path(work) / "sounds"
        sounds.mkdir()
        for i in range(given.count):
            noise = 0.1 * rng.standard_normal(spec.window_samples).astype(np.float32)
            soundfile.write(sounds / f"{i:06d}.wav", noise, spec.sample_rate)
        windows = 0.1 * rng.standard_normal((given.count, spec.window_samples), np.float32)
        library_rate(encoder, given.bundle, sounds, Path(work) / "warm")
        pairs, cores = [], []
        for i in range(ROUNDS):  # in turn, so that both see the same machine
            own, own_core = own_rate(encoder, windows)
            rate, core = library_rate(encoder, given.bundle, sounds, Path(work) / str(i))
            pairs.append((own, rate))
            cores.append((own_core, core))
        ratios = [library / own for own, library in pairs]
        report = {
            "model": encoder.manifest.name, "count": given.count, "pairs": pairs,
            "share": statistics.median(ratios), "core_seconds": cores,
            "core_share": statistics.median(own / library for own, library in cores),
        }  # fmt: skip
    text = json.dumps(report, indent=1) + "\n"
    print(text)
    RESULT.write_text(text)


if __name__ == "__main__":
    main()
