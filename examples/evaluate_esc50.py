"""Zero-shot accuracy on a folder in ESC-50's layout: audio/*.wav and meta/esc50.csv.

python examples/evaluate_esc50.py BUNDLE ESC50_FOLDER [FOLD]
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import runtime


def main(bundle: str, folder: str, fold: str = "") -> None:
    """Print the accuracy over all clips, or over those of one fold."""
    with open(Path(folder) / "meta" / "esc50.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = {row["category"]: row["category"].replace("_", " ") for row in rows}
    chosen = [row for row in rows if fold in ("", row["fold"])]
    paths = [Path(folder) / "audio" / row["filename"] for row in chosen]
    right = unread = 0
    with runtime.Classifier(bundle, sorted(names.values()), top_k=1) as classifier:
        for row, result in zip(chosen, classifier.predict_many(paths), strict=True):
            if result.error is not None:
                unread += 1
                print(result.error, file=sys.stderr)
            elif result.predictions[0].label == names[row["category"]]:
                right += 1
    heard = len(chosen) - unread
    print(f"{right} of {heard} clips, {100 * right / max(1, heard):.1f} %, {unread} not read")


if __name__ == "__main__":
    main(*sys.argv[1:])
