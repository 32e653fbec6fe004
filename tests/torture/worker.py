"""A process that reads damaged files, one after another, and says of each how it went."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import sys
import time
import traceback
from pathlib import Path

from runtime.errors import ClapError
from tests.torture import found
from tests.torture.readers import READERS

MEMORY = 6 << 30  # bytes of address space beyond what the process begins with


def main(name: str, seed: int, start: int, count: int, work: Path) -> None:
    """Read a reader's inputs, the first ``start`` left out; a JSON line before and after each.

    They begin with those that once were found; ``count`` damaged ones follow.
    """
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # libraries print too
    os.dup2(1, 2)
    reader = READERS[name]
    good = work / "good"
    good.mkdir(exist_ok=True)
    seeds = reader.seeds(good)
    for path in seeds:
        reader.read(path)  # imports everything, and proves that the good ones are good
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    peak = _peak()
    known = list(found.inputs(name, seeds[0].joinpath(reader.changed or "").read_bytes()))
    for i in range(start, len(known) + count):
        folder = work / "case"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if i < len(known):
            path = reader.place(seeds[0], folder, reader.changed, known[i].content)
        else:
            rng = random.Random(f"{name}/{seed}/{i - len(known)}")
            path = reader.damage(rng.choice(seeds), folder, rng)
        print(json.dumps({"begin": i}), file=out)
        began = time.perf_counter()
        outcome, error = "accepted", ""
        try:
            reader.read(path)
        except ClapError as refusal:
            outcome, error = "refused", str(refusal)
        except BaseException as escape:
            last = traceback.extract_tb(escape.__traceback__)[-1]
            where = f"{Path(last.filename).name}:{last.lineno}"
            outcome, error = "escaped", f"{type(escape).__name__}: {escape} ({where})"
        seconds = time.perf_counter() - began
        now = _peak()
        if outcome == "accepted" and i < len(known) and known[i].bad:
            outcome, error = "escaped", f"accepted: {known[i].title} (found before)"
        said = {"i": i, "outcome": outcome, "error": error[:300], "seconds": seconds}
        print(json.dumps({**said, "grown": now - peak}), file=out)
        peak = now


def _peak() -> int:
    """Most memory held so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    reader, seed, start, count, folder = sys.argv[1:]
    main(reader, int(seed), int(start), int(count), Path(folder))
