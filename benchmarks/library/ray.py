"""How quick each stage of work on a cluster is, by itself and on one core.

    python -m benchmarks.library.ray BUNDLE [--count 200]

Generated recordings of ten seconds: FLAC, stereo, 44.1 kHz. The stages are the functions that
workers run, here without Ray; then all of them with Ray on this machine's cores, beside the local
way. Writes benchmarks/library/ray.json, which :mod:`benchmarks.library.sizing` goes by.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import soundfile

from clap_export.library import sources, store
from clap_export.library.embed import Work, described, embed
from clap_export.library.item import Item
from clap_export.library.ray import Workers, cluster, embeddings, stages
from clap_export.library.ray.spread import spread
from clap_export.library.row import Row
from clap_export.sounds.catalogue import SOUNDS
from runtime import Bundle, Encoder
from runtime.audio.facts import Facts

RATE, SECONDS = 44_100, 10.0
ROWS = 10_000  # that are written
LISTED = 200_000  # recordings that are held in memory
RESULT = Path(__file__).with_name("ray.json")


def recordings(folder: Path, count: int) -> list[Path]:
    """Sounds of every sort in turn, with the noise that real recordings have."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    made = [np.asarray(make(RATE, SECONDS), np.float32) for make in SOUNDS.values()]
    paths = [folder / f"{i:06d}.flac" for i in range(count)]
    for i, path in enumerate(paths):
        mono = made[i % len(made)][: int(RATE * SECONDS)]
        noise = 0.003 * rng.standard_normal((len(mono), 2)).astype(np.float32)
        soundfile.write(path, 0.5 * mono[:, np.newaxis] + noise, RATE, subtype="PCM_16")
    return paths


def seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def best(work: Callable[[], Any], rounds: int = 2) -> float:
    """Seconds of the quickest of some rounds: what else the machine did is not of the work."""
    return min(seconds(work) for _ in range(rounds))


def rate_of_writer(folder: Path, said: Any) -> float:
    """Rows a second, from the table that an encoder sent to the part on the disk."""
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((ROWS, said.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [
        (
            Row(Item(f"/recordings/{i:09d}.flac", None, 10**6, i), f"{i:064x}",
                Facts(RATE, 2, SECONDS), 1, vector),
            False,
        )
        for i, vector in enumerate(vectors)
    ]  # fmt: skip
    tables = [embeddings.table(rows[at : at + 16], said.dim, False) for at in range(0, ROWS, 16)]

    def write() -> None:
        with store.opened(folder, said) as opened:
            for table in tables:
                for row, _ in embeddings.read(table, said.dim):
                    opened.add(row)
            opened.seal()

    return ROWS / seconds(write)


def bytes_of_listing() -> float:
    """Memory of the writer for each recording: what is listed, and what is known of it."""
    process = psutil.Process()
    before = process.memory_info().rss
    found = sources.Found()
    known: dict[Any, store.Known] = {}
    for i in range(LISTED):
        item = Item(f"/recordings/{i % 1000:03d}/{i:09d}.flac", None, i, i + 10**18)
        found.items[item.key] = item
        known[item.key] = store.Known(i, i + 10**18, f"{i:064x}", False, None, f"part-{i:08d}")
    return (process.memory_info().rss - before) / LISTED


def both_ways(encoder: Encoder, bundle: Path, paths: list[Path], work: Path) -> dict[str, float]:
    """Recordings a second on all cores of this machine, locally and by Ray."""
    rates: dict[str, float] = {}

    def written(name: str, how: Callable[[Any, Any], Any]) -> None:
        wanted = described(encoder, bundle, "float32", False)
        with store.opened(work / name, wanted) as opened:
            summary = how(opened, sources.find([str(paths[0].parent)]))
        assert summary.embedded == len(paths)
        rates[name] = summary.embedded / summary.seconds

    def quiet(_: str) -> None:
        pass

    written("local", lambda library, found: embed(encoder, library, found, Work(), quiet))
    with cluster.connected("local"):
        for name in ("ray, with its start", "ray"):
            written(
                name,
                lambda library, found: spread(encoder, library, found, Work(), quiet, Workers()),
            )
    return rates


def measured(bundle: Path, count: int, work: Path) -> dict[str, Any]:
    """All rates, as recordings a second, and bytes of each."""
    paths = recordings(work / "sounds", count)
    listed = pa.table({"path": [str(path) for path in paths]})
    with Encoder(Bundle(bundle.absolute()), threads=1) as encoder:
        items = stages.looked(listed)
        size = encoder.batch_size

        def decode() -> list[Any]:
            return list(stages.decoded(items, encoder, size))

        def exhausted(tables: Iterable[Any]) -> None:
            for table in tables:
                for _ in actor(table):
                    pass

        actor = stages.Embedding(encoder, False, size, Workers())
        sent = decode()
        exhausted(sent[:1])  # the engine is loaded
        spec = encoder.manifest.audio
        said = described(encoder, bundle, "float32", False)
        report = {
            "model": encoder.manifest.name, "dim": said.dim, "recordings": count,
            "seconds_of_each": SECONDS, "windows_of_each": sum(
                len(starts) for table in sent for starts in table.column("starts").to_pylist()
            ) / count,
            "window": f"{spec.window_samples / spec.sample_rate:g} s at {spec.sample_rate} Hz",
            "bytes_of_file": sum(path.stat().st_size for path in paths) / count,
            "bytes_carried": sum(table.nbytes for table in sent) / count,
            "look": count / best(lambda: stages.looked(listed)),
            "decode": count / best(decode),
            "encode": count / best(lambda: exhausted(sent)),
            "write": rate_of_writer(work / "rows", said),
            "bytes_listed": bytes_of_listing(),
        }  # fmt: skip
        said = dataclasses.replace(said, dim=512)
        report["write_512"] = rate_of_writer(work / "rows-512", said)
    with Encoder(Bundle(bundle.absolute())) as encoder:
        report["cores"] = psutil.cpu_count()
        report["both"] = both_ways(encoder, bundle, paths, work)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--count", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        text = json.dumps(measured(given.bundle, given.count, Path(work)), indent=1) + "\n"
    print(text)
    RESULT.write_text(text)


if __name__ == "__main__":
    main()
