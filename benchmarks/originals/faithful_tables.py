"""The page of `faithful.json`: `python -m benchmarks.originals.faithful_tables` writes it anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.page import put

TRAINED = "clap-mini"
RESULT = Path(__file__).with_name("faithful.json")
DOCS = Path(__file__).parents[2] / "docs" / "recordings.md"

INTRODUCTION = """\
# Vectors that match the originals'

Written by `python benchmarks/originals/faithful.py ORIGINALS/bin/python RECORDINGS`, which says
what it does. The same 16-bit files, of real recordings at seven rates, mono and stereo, 0.5 to 35
s, went through each original package and through our FP32 bundle of the same checkpoint, with
`windows="faithful"` and with the default. What the originals draw at random is pinned: a crop to
the start, fusion's chunks to the middle of what they may be. Weights are generated, not trained,
and exaggerate: a trained model is in the last table.
"""
BY_RATE = """\
The default's mean cosine to the original, of files that fit into the window by rate and channels,
and of longer ones, of which the originals without fusion hear one window and we hear all:
"""
BEHIND = """\
clap-mini's weights are trained, and it has no original. What its vectors would lose behind the
samples of the others, as against our own samples of the first window of the same files:
"""


def page(found: dict[str, Any]) -> str:
    """All tables, with what they are."""
    parts = [INTRODUCTION]
    if _families(found):
        parts += [_match(found), BY_RATE, _default(found)]
    if TRAINED in found:
        parts += [BEHIND, _trained(found[TRAINED])]
    return "\n".join(parts)


def write() -> None:
    """The page beside the record, and the table in the documentation."""
    found = json.loads(RESULT.read_text(encoding="utf-8"))
    RESULT.with_suffix(".md").write_text(page(found), encoding="utf-8")
    put("faithful", _match(found).rstrip("\n"), DOCS)


def _match(found: dict[str, Any]) -> str:
    lines = [
        "| model | files | faithful: lowest cosine | default: lowest | median | same best label | "
        "long text: faithful | default |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in _families(found):
        ours, plain = (np.array([*row[w]["cosines"].values()]) for w in ("faithful", "default"))
        same = np.mean([*row["default"]["same label"].values()])
        text = [
            f"{row[w]['long text']:.6f}" if "long text" in row[w] else "none"
            for w in ("faithful", "default")
        ]
        lines.append(
            f"| {name} | {len(ours)} | {ours.min():.7f} | {plain.min():.3f} | "
            f"{np.median(plain):.4f} | {same:.0%} | {text[0]} | {text[1]} |"
        )
    return "\n".join([*lines, ""])


def _default(found: dict[str, Any]) -> str:
    """Mean cosine of the default to the original: by rate, of recordings that fit into a window."""
    files = _families(found)[0][1]["default"]["cosines"]
    rates = sorted({file.split("-")[0] for file in files}, key=int)
    head = [f"{int(rate) / 1000:g} kHz" for rate in rates]
    lines = [
        f"| model | {' | '.join(head)} | mono | stereo | longer than a window |",
        "|---" * (len(head) + 4) + "|",
    ]
    for name, row in _families(found):
        cosines = row["default"]["cosines"]
        fits = {k: v for k, v in cosines.items() if float(k.split("-")[2]) <= row["window"]}
        cells = [[v for k, v in fits.items() if k.split("-")[0] == rate] for rate in rates]
        cells += [[v for k, v in fits.items() if k.split("-")[1] == side] for side in "12"]
        cells.append([v for k, v in cosines.items() if k not in fits])
        shown = [f"{np.mean(cell):.4f}" if cell else "none" for cell in cells]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join([*lines, ""])


def _trained(row: dict[str, Any]) -> str:
    lines = [
        "| clap-mini behind | lowest cosine | mean | same best of 20 labels |",
        "|---|---|---|---|",
    ]
    titles = {
        "msclap": ("torchaudio's resampler, mono files", "and channels strung, stereo files"),
        "librosa": ("librosa's length, mono files", "the same, stereo files"),
    }
    for name, said in titles.items():
        for channels, title in zip("12", said, strict=True):
            keys = [k for k in row[name]["cosines"] if k.split("-")[1] == channels]
            cosines = np.array([row[name]["cosines"][k] for k in keys])
            same = np.mean([row[name]["same label"][k] for k in keys])
            lines.append(f"| {title} | {cosines.min():.4f} | {cosines.mean():.4f} | {same:.0%} |")
    return "\n".join([*lines, ""])


def _families(found: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(name, row) for name, row in found.items() if name != TRAINED]


if __name__ == "__main__":
    write()
