"""Exact search in generated libraries: time of a query, recall, bytes and memory, by their numbers.

    python -m benchmarks.library.search 100000 [--store float32 …] [--keep DIR]

writes benchmarks/library/search-COUNT.json, one entry for each kind of numbers. Each is measured in
a process of its own, so that the memory is its own.
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
from pathlib import Path

import numpy as np

from benchmarks.library import generated
from runtime import Library

QUERIES, TOP_K = 20, 10
RESULTS = Path(__file__).parent


def measured(folder: Path, exact: Path | None) -> dict[str, float]:
    """Times of a library that nobody has opened before in this process."""
    queries = generated.queries(QUERIES)
    began = time.perf_counter()
    library = Library(folder)
    opened = time.perf_counter()
    library.search(vector=queries[0], top_k=TOP_K)
    first = time.perf_counter()
    times = []
    found = []
    for query in queries:
        start = time.perf_counter()
        hits = library.search(vector=query, top_k=TOP_K)
        times.append(time.perf_counter() - start)
        found.append([hit.path for hit in hits])
    start = time.perf_counter()
    library.search(vector=queries[0], top_k=TOP_K, where="duration < 10")
    filtered = time.perf_counter() - start
    if exact is not None and not exact.exists():
        exact.write_text(json.dumps(found))
    want = json.loads(exact.read_text()) if exact is not None else found
    same = [len({*a} & {*b}) / TOP_K for a, b in zip(found, want, strict=True)]
    return {
        "open_s": opened - began,
        "first_query_s": first - opened,
        "query_s": float(np.median(times)),
        "slowest_query_s": max(times),
        "where_query_s": filtered,
        "recall_at_10": float(np.mean(same)),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--store", nargs="+", default=["float32", "float16", "int8"])
    parser.add_argument("--keep", type=Path, help="folder that holds the libraries and stays")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measured(given.measure, given.measure.parent / "exact.json")))
        return
    work = given.keep or Path(tempfile.mkdtemp(prefix="library-"))
    work.mkdir(exist_ok=True)
    out = RESULTS / f"search-{given.count}.json"
    report = json.loads(out.read_text()) if out.exists() else {}
    for store in given.store:
        folder = work / store
        began = time.perf_counter()
        if not folder.exists():
            generated.write(folder, given.count, store)
        written = time.perf_counter() - began
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        command = [sys.executable, "-m", "benchmarks.library.search", "0", "--measure", str(folder)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        report[store] = {
            "rows": given.count,
            "write_s": written,
            "bytes": size,
            **json.loads(done.stdout),
        }
        print(store, json.dumps(report[store]))
    out.write_text(json.dumps(report, indent=1) + "\n")
    if not given.keep:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
