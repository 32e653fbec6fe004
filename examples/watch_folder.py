"""Classify recordings as they arrive in a folder.

python examples/watch_folder.py BUNDLE FOLDER dog rain siren
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import runtime


def arrivals(folder: Path, pause: float) -> Iterator[Path]:
    """Files that are new in a folder, when they have stopped growing; for ever."""
    done: set[Path] = set()
    sizes: dict[Path, int] = {}
    while True:
        for path in sorted(folder.glob("*.wav")):
            size = path.stat().st_size
            if path not in done and sizes.get(path) == size:
                done.add(path)
                yield path
            sizes[path] = size
        time.sleep(pause)


def main(
    bundle: str, folder: str, *labels: str, pause: float = 1.0, stop: int | None = None
) -> None:
    """Print what each new recording is; end after ``stop`` of them, if given."""
    with runtime.Classifier(bundle, list(labels), top_k=1) as classifier:
        for count, path in enumerate(arrivals(Path(folder), pause), 1):
            try:
                (best,) = classifier.predict(path)
                print(f"{path.name}: {best.label} ({best.score:.2f})", flush=True)
            except runtime.ClapError as error:
                print(f"{path.name}: {error}", flush=True)
            if count == stop:
                return


if __name__ == "__main__":
    main(*sys.argv[1:])
