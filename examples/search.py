"""Search recordings by text, in memory: embed them once, then ask as often as you like.

python examples/search.py BUNDLE "a dog barks far away" RECORDING...
"""

from __future__ import annotations

import sys

import numpy as np

import runtime


def main(bundle: str, query: str, *recordings: str) -> None:
    """Print the recordings, the nearest to the query first."""
    with runtime.Encoder(bundle) as encoder:
        library = np.concatenate([encoder.embed_audio(path) for path in recordings])
        (asked,) = encoder.embed_text([query])
    cosines = library @ asked  # all have unit norm
    for i in np.argsort(-cosines):
        print(f"{cosines[i]:+.3f}  {recordings[i]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
