"""An index of a generated library: what it takes to make, and what a search with it gives.

    python -m benchmarks.library.index 100000 [--engine usearch lancedb] [--keep DIR]

writes benchmarks/library/index-COUNT.json, one entry for each engine. Each is made and asked in
processes of their own, so that the memory is their own. What is found is compared with exact
search.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.library import generated

QUERIES, TOP_K = 200, 10
RESULTS = Path(__file__).parent
STORE = "float32"
PLAIN = "float32"  # folder of the library without an index, as benchmarks.library.search has it


def built(folder: Path, engine: str) -> dict[str, float]:
    """Index a library."""
    from clap_export.library.index.build import build

    (made,) = build(folder, engine, lambda _: None)  # pyright: ignore[reportArgumentType]
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "build_s": made.seconds,
        "build_cpu_s": used.ru_utime + used.ru_stime,
        "bytes": made.bytes,
        "build_memory_mb": _peak_mb(),
    }


def exact(count: int) -> list[list[str]]:
    """What is to be found: the nearest of all vectors as they were drawn."""
    queries = generated.queries(QUERIES)
    scores = np.empty((QUERIES, 0), np.float32)
    rows = np.empty((QUERIES, 0), np.int64)
    first = 0
    for vectors in generated.blocks(count):
        scores = np.hstack([scores, queries @ vectors.T])
        here = np.arange(first, first + len(vectors))
        rows = np.hstack([rows, np.tile(here, (QUERIES, 1))])
        best = np.argsort(-scores, axis=1)[:, :TOP_K]
        scores, rows = (np.take_along_axis(each, best, 1) for each in (scores, rows))
        first += len(vectors)
    return [[generated.path(row) for row in some] for some in rows.tolist()]


def measured(folder: Path, want: list[list[str]]) -> dict[str, float]:
    """Times of a library that nobody has opened before in this process."""
    from runtime import Library

    queries = generated.queries(QUERIES)
    began = time.perf_counter()
    library = Library(folder)
    library.search(vector=queries[0], top_k=TOP_K)
    first = time.perf_counter() - began
    times, found = [], []
    for query in queries:
        start = time.perf_counter()
        hits = library.search(vector=query, top_k=TOP_K)
        times.append(time.perf_counter() - start)
        found.append([hit.path for hit in hits])
    start = time.perf_counter()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda query: library.search(vector=query, top_k=TOP_K), queries))
    together = time.perf_counter() - start
    start = time.perf_counter()
    library.search(vector=queries[0], top_k=TOP_K, where="duration < 10")
    filtered = time.perf_counter() - start
    assert not library.notes, library.notes
    same = [len({*a} & {*b}) / TOP_K for a, b in zip(found, want, strict=True)]
    return {
        "first_query_s": first,
        "query_s": float(np.median(times)),
        "slowest_query_s": max(times),
        "queries_a_second": QUERIES / together,
        "where_query_s": filtered,
        "recall_at_10": float(np.mean(same)),
        "peak_memory_mb": _peak_mb(),
    }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _alone(*arguments: str) -> str:
    """Run a step in a process of its own, for its output."""
    command = [sys.executable, "-m", "benchmarks.library.index", "0", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _linked(work: Path, engine: str) -> Path:
    """The same library with room for an index of its own."""
    folder = work / engine
    if not folder.exists():
        folder.mkdir()
        shutil.copy(work / PLAIN / "library.json", folder)
        (folder / "parts").symlink_to(work.resolve() / PLAIN / "parts")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--engine", nargs="+", default=["usearch", "lancedb"])
    parser.add_argument("--keep", type=Path, help="folder that holds the library and stays")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.build:
        print(json.dumps(built(given.build, given.build.name)))
        return
    if given.ask:
        want = json.loads((given.ask.parent / "nearest.json").read_text())
        print(json.dumps(measured(given.ask, want)))
        return
    work = given.keep or Path(tempfile.mkdtemp(prefix="library-"))
    work.mkdir(exist_ok=True)
    if not (work / PLAIN).exists():
        generated.write(work / PLAIN, given.count, STORE)
    if not (work / "nearest.json").exists():
        (work / "nearest.json").write_text(json.dumps(exact(given.count)))
    out = RESULTS / f"index-{given.count}.json"
    report = json.loads(out.read_text()) if out.exists() else {}
    for engine in given.engine:
        folder = _linked(work, engine)
        made = folder / "made.json"
        if not made.exists():
            made.write_text(_alone("--build", str(folder)))
        asked = json.loads(_alone("--ask", str(folder)))
        report[engine] = {"rows": given.count, **json.loads(made.read_text()), **asked}
        print(engine, json.dumps(report[engine]))
        out.write_text(json.dumps(report, indent=1) + "\n")
    if not given.keep:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
