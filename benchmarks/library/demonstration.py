"""A library of a hundred thousand recordings from end to end, by the commands that a user types.

    python -m benchmarks.library.demonstration BUNDLE SOUNDS [--count 100000] [--work DIR] [--ray]

Recordings of one second are cut and mixed out of those below SOUNDS, embedded, killed in between
and gone on with, indexed, and searched. All rows are counted by pyarrow alone. Writes
benchmarks/library/demonstration-local.json, or -ray; what is there already (--work) is not made
again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.library import clips

HERE = Path(__file__).parent
KILLS = 3
WAIT = 10.0, 30.0  # seconds that a killed process had
ASKED = ["rain", "a dog barking", "a car horn", "applause", "church bells"]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "clap_export", *map(str, arguments)]


def timed(*arguments: object) -> tuple[float, str]:
    """Seconds that a command takes, with the start of its process, and what it prints."""
    began = time.perf_counter()
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - began, done.stdout


def killed(embed: list[str]) -> float:
    """Seconds until a command that embeds was killed."""
    began = time.perf_counter()
    running = subprocess.Popen(
        embed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        running.wait(random.uniform(*WAIT))
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    return time.perf_counter() - began


def rows(library: Path) -> list[str]:
    """Paths of all rows with a vector, as pyarrow reads them."""
    found: list[str] = []
    for path in sorted((library / "parts").glob("*.parquet")):
        table = pq.read_table(path, columns=["path", "error"])
        found += table.filter(table.column("error").is_null()).column("path").to_pylist()
    return found


def searched(library: Path, *options: str) -> dict[str, Any]:
    """Each query in a process of its own: from the command to the hits."""
    times, hits = [], []
    for words in ASKED:
        seconds, text = timed("search", library, words, "--json", *options)
        times.append(seconds)
        hits.append([json.loads(line)["path"] for line in text.splitlines()])
    return {"median_s": statistics.median(times), "slowest_s": max(times), "hits": hits}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("sounds", type=Path)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--ray", action="store_true", help="Embed on a local cluster of Ray.")
    given = parser.parse_args()
    work = given.work or Path(tempfile.mkdtemp(prefix="library-"))
    sounds, library = work / "clips", work / "library"
    if not sounds.exists():
        work.mkdir(exist_ok=True)
        said = json.loads((given.bundle / "manifest.json").read_text())
        rate = said["audio"]["sample_rate"]
        clips.write(sounds, clips.sources(given.sounds, rate), rate, given.count)
    ray = ["--ray"] if given.ray else []
    embed = command("embed", given.bundle, sounds, "--out", library, "--json", *ray)
    random.seed(0)
    lost = [killed(embed) for _ in range(KILLS)]
    began = time.perf_counter()
    done = subprocess.run(embed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    last = time.perf_counter() - began
    summary = json.loads(done.stdout)
    again, _ = timed("embed", given.bundle, sounds, "--out", library, *ray)
    kept = rows(library)
    assert sorted(kept) == sorted(str(p.resolve()) for p in sounds.rglob("*.wav"))
    exact = searched(library)
    indexing, text = timed("index", library, "--json")
    (built,) = json.loads(text)["built"]
    near = searched(library)
    filtered, _ = timed("search", library, ASKED[0], "--where", "path LIKE '%7.wav'", "--json")
    like, _ = timed("search", library, "--like", kept[5], "--json")
    same = [len({*a} & {*b}) / len(b) for a, b in zip(near["hits"], exact["hits"], strict=True)]
    report = {
        "model": json.loads((given.bundle / "manifest.json").read_text())["name"],
        "count": given.count,
        "rows": len(kept),
        "kills": KILLS,
        "killed_after_s": lost,
        "embedded_at_last": summary["embedded"],
        "rate": summary["embedded"] / summary["seconds"],
        "last_s": last,
        "unchanged_s": again,
        "index_s": indexing,
        "index_bytes": built["bytes"],
        "search_s": exact["median_s"],
        "search_with_index_s": near["median_s"],
        "where_s": filtered,
        "like_s": like,
        "recall_at_10": statistics.mean(same),
    }
    print(json.dumps(report, indent=1))
    result = HERE / f"demonstration-{'ray' if given.ray else 'local'}.json"
    result.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
