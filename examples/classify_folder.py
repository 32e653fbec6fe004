"""Classify all recordings in a folder, into a CSV.

python examples/classify_folder.py BUNDLE FOLDER OUT.csv dog rain siren
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import runtime

SUFFIXES = {".wav", ".flac", ".ogg", ".mp3"}


def main(bundle: str, folder: str, out: str, *labels: str) -> None:
    """Write a row for each recording: its path, best label, score, or what is wrong with it."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
    with (
        runtime.Classifier(bundle, list(labels), top_k=1) as classifier,
        open(out, "w", newline="", encoding="utf-8") as file,
    ):
        rows = csv.writer(file)
        rows.writerow(["path", "label", "score", "problem"])
        for result in classifier.predict_many(paths):
            if result.error is not None:
                rows.writerow([result.source, "", "", result.error])
            else:
                (best,) = result.predictions
                rows.writerow(
                    [result.source, best.label, f"{best.score:.3f}", result.warning or ""]
                )


if __name__ == "__main__":
    main(*sys.argv[1:])
