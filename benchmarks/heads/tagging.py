"""How long it takes to label a library from its vectors, by their number and that of labels.

    python -m benchmarks.heads.tagging 100000 [--labels 10 50 500]

writes benchmarks/heads/tagging-COUNT.json and the table of docs/heads.md: of a generated library,
with labels in random directions, top 3 by softmax, from opening the library to the written table.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import page
from benchmarks.heads.shots import DOCS, HERE
from benchmarks.library import generated
from clap_export.library import tags
from clap_export.library.vectors import Vectors
from runtime import LabelBank
from runtime.scores import Ranking

STORES: tuple[Any, ...] = ("float32", "float16", "int8")


def seconds(folder: Path, labels: int) -> float:
    rows = np.random.default_rng(0).standard_normal((labels, generated.DIM))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    start = time.perf_counter()
    library = Vectors(folder)
    space = library.description.space_id
    bank = LabelBank(tuple(f"label {i}" for i in range(labels)), (), rows, space)
    ranking = Ranking("softmax", 16.0, None, None, None, 3)
    with tags.writing(library, "measured", bank, ranking, overwrite=True) as table:
        for some in tags.tagged(library, bank, ranking):
            table.add(some)
    assert not library.problems
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--labels", type=int, nargs="+", default=[10, 50, 500])
    given = parser.parse_args()
    found: dict[str, dict[str, float]] = {}
    size = 0
    for store in STORES:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "library")
            generated.write(folder, given.count, store)
            found[store] = {str(n): seconds(folder, n) for n in given.labels}
            size = (folder / "tags" / "measured.parquet").stat().st_size
        print(store, found[store], flush=True)
    said = {"count": given.count, "dim": generated.DIM, "seconds": found, "table_bytes": size}
    path = HERE / f"tagging-{given.count}.json"
    path.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    heads = " | ".join(f"{n} labels" for n in given.labels)
    lines = [
        f"{given.count:,} vectors of {generated.DIM} (seconds; the table has {size / 1e6:.1f} MB):",
        "",
        f"| stored as | {heads} |",
        "|---" * (len(given.labels) + 1) + "|",
        *(f"| {store} | {' | '.join(f'{s:.2f}' for s in of.values())} |"
          for store, of in found.items()),
    ]  # fmt: skip
    if DOCS.exists():
        page.put("tagging", "\n".join(lines), DOCS)


if __name__ == "__main__":
    main()
