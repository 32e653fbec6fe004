"""The tables of `faithful.json`, as Markdown: `python -m benchmarks.originals.faithful_tables`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

TRAINED = "clap-mini"


def tables(found: dict[str, Any]) -> str:
    """All of them."""
    made = [_match(found), _default(found)] if _families(found) else []
    return "\n".join([*made, *(_trained(found[name]) for name in found if name == TRAINED)])


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
    """Mean cosine of the default to the original, of recordings that fit into the window."""
    rates = sorted(
        {key.split("-")[0] for key in found["laion-tiny"]["default"]["cosines"]}, key=int
    )
    head = [f"{int(rate) / 1000:g} kHz" for rate in rates]
    lines = [
        f"| model | {' | '.join(head)} | all, stereo | longer than a window |",
        "|---" * (len(head) + 3) + "|",
    ]
    for name, row in _families(found):
        cosines = row["default"]["cosines"]
        fits = {k: v for k, v in cosines.items() if float(k.split("-")[2]) <= row["window"]}
        cells = [
            np.mean([v for k, v in fits.items() if k.startswith(f"{rate}-1-")]) for rate in rates
        ]
        cells.append(np.mean([v for k, v in fits.items() if k.split("-")[1] == "2"]))
        cells.append(np.mean([v for k, v in cosines.items() if k not in fits]))
        lines.append(f"| {name} | {' | '.join(f'{cell:.4f}' for cell in cells)} |")
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
    print(tables(json.loads(Path(__file__).with_name("faithful.json").read_text())))
