"""Say what happens when in a long recording; neighbours with the same label are one line.

python examples/timeline.py BUNDLE RECORDING HOP_SECONDS dog rain siren
"""

from __future__ import annotations

import sys
from itertools import groupby

import runtime


def main(bundle: str, recording: str, hop: str, *labels: str) -> None:
    """Print start, end and best label of each stretch."""
    with runtime.Classifier(bundle, list(labels), top_k=1) as classifier:
        segments = classifier.timeline(recording, hop=float(hop))
    for label, group in groupby(segments, key=lambda segment: segment.predictions[0].label):
        stretch = list(group)
        score = max(segment.predictions[0].score for segment in stretch)
        print(f"{stretch[0].start:7.1f} s - {stretch[-1].end:7.1f} s  {label} ({score:.2f})")


if __name__ == "__main__":
    main(*sys.argv[1:])
