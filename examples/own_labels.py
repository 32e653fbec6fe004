"""Own labels: several prompts for each, a threshold for each, saved as a bank.

python examples/own_labels.py BUNDLE BANK.npz RECORDING...
"""

from __future__ import annotations

import sys
from pathlib import Path

import runtime

# The least cosine at which a label counts. Find yours on recordings of which you know the label.
LEAST = {"a machine that needs oil": 0.15, "glass breaking": 0.25, "somebody shouting": 0.20}
TEMPLATES = ["This is a sound of {}.", "{}"]


def main(bundle: str, bank: str, *recordings: str) -> None:
    """Print which labels each recording has; it may be none, and may be several."""
    if not Path(bank).exists():
        with runtime.Encoder(bundle) as encoder:
            made = runtime.LabelBank.build(encoder, list(LEAST), templates=TEMPLATES)
            made.save(bank)
    # With a saved bank the text encoder is not loaded.
    labels = runtime.LabelBank.load(bank, mmap=True)
    with runtime.Classifier(bundle, labels, scores="cosine") as classifier:
        for path in recordings:
            heard = [p.label for p in classifier.predict(path) if p.similarity >= LEAST[p.label]]
            print(f"{path}: {', '.join(heard) or 'none of these'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
