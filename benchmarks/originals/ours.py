"""Our bundle of the same weights on the same files, beside what `theirs.py` wrote, as Markdown.

python benchmarks/originals/ours.py BUNDLE THEIRS.npz
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.originals.timing import LABELS, timed
from runtime import Encoder


def main(bundle: str, theirs: str) -> None:
    """Print the comparison."""
    with np.load(theirs, allow_pickle=False) as file:
        other = dict(file)
    settings = json.loads(str(other["settings"]))
    encoder = Encoder(bundle)
    prepare, encode, cosines = [], [], []
    for path, want in zip(other["files"], other["embeddings"], strict=True):
        windows, seconds = timed(lambda path=path: encoder.windows_of(str(path)))
        windows = windows[:1]  # of a longer clip the originals hear but one, pinned to its start
        prepare.append(seconds)
        found, seconds = timed(lambda windows=windows: encoder.embed_windows(windows))
        encode.append(seconds)
        cosines.append(float(found[0] @ want))
    _, text = timed(lambda: encoder.embed_text(LABELS), 2)
    print(f"### {settings['name']}\n")
    print("| file | cosine | theirs: read, prepare | encode | ours: read, prepare | encode |")
    print("|---|---|---|---|---|---|")
    for i, path in enumerate(other["files"]):
        print(
            f"| {Path(str(path)).name} | {cosines[i]:.6f} | {1e3 * other['prepare'][i]:.1f} ms | "
            f"{1e3 * other['encode'][i]:.0f} ms | {1e3 * prepare[i]:.1f} ms | "
            f"{1e3 * encode[i]:.0f} ms |"
        )
    both = [np.median(x) for x in (other["prepare"], other["encode"], prepare, encode)]
    print(
        f"| **median** | {np.median(cosines):.6f} | {1e3 * both[0]:.1f} ms | {1e3 * both[1]:.0f} ms"
        f" | {1e3 * both[2]:.1f} ms | {1e3 * both[3]:.0f} ms |\n"
    )
    print(
        f"One clip: {1e3 * (both[0] + both[1]):.0f} ms theirs, {1e3 * (both[2] + both[3]):.0f} ms "
        f"ours, ratio {(both[0] + both[1]) / (both[2] + both[3]):.2f}. {len(LABELS)} labels: "
        f"{1e3 * float(other['text']):.0f} ms theirs, {1e3 * text:.0f} ms ours, once."
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
