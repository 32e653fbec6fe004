"""Compare two bundles of one model on recordings: an INT8 one with its FP32 one, for example.

python examples/compare_bundles.py REFERENCE OTHER RECORDING...
"""

from __future__ import annotations

import sys

import runtime


def main(reference: str, other: str, *recordings: str) -> None:
    """Print the cosine of each recording's two embeddings, the lowest first."""
    with runtime.Encoder(reference) as first, runtime.Encoder(other) as second:
        if first.manifest.space_id != second.manifest.space_id:
            print("the embedding spaces differ: cosines between them mean nothing")
            return
        cosines = {
            path: float(first.embed_audio(path)[0] @ second.embed_audio(path)[0])
            for path in recordings
        }
    for path, cosine in sorted(cosines.items(), key=lambda item: item[1]):
        print(f"{cosine:.6f}  {path}")
    print(f"{min(cosines.values()):.6f}  the worst of {len(cosines)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
