"""Texts whose tokens were recorded from the originals' tokenizers."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

# Each may split, merge, strip or normalise differently where tokenizers differ at all.
ODD = (
    "", "!", "!!", "!!!", " !", "! ", "!?", "?!", "a!b", "fire!fire", "Watch out!! A dog.",
    "...!!...", " dog", "dog ", "dog  ", "  dog  barks ", "\tdog\n", "a dog's bark isn't it",
    "DOG Dog dOg", "<|endoftext|>", "a <|endoftext|> b", "<s> </s> <pad> <mask>",
    "[CLS] dog [SEP] [UNK] [PAD]", "dog \u2026 \u201cquoted\u201d \u2013 dash",
    "caf\u00e9 na\u00efve \u00fcber", "cafe\u0301", "\U0001f415 barks",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u72ac\u5728\u53eb",
    "\u043b\u0430\u0439 \u0441\u043e\u0431\u0430\u043a\u0438", "\u0646\u0628\u0627\u062d",
    "44.1 kHz, 3/4 time; 1,000x", "under_score-hyphen", "a\u00a0b\u3000c", "\u200bdog",
    "rain " * 100, "!" * 100, "dog! " * 60, "antidisestablishmentarianism" * 12, "x" * 500,
)  # fmt: skip
LIMITS = {"bert": 100, "gpt2": 77, "roberta": 77}


def captions(folder: Path, count: int = 10_000) -> list[str]:
    """The first different captions in a folder's CSV files, by name of file and order of row."""
    found: dict[str, None] = {}
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                for column, text in row.items():
                    if column and column.startswith("caption") and text:
                        found[text] = None
                if len(found) >= count:
                    return list(found)[:count]
    return list(found)


def digest(ids: Iterable[Sequence[int]]) -> str:
    """One hash of the ids of many texts."""
    whole = hashlib.sha256()
    for row in ids:
        whole.update((" ".join(map(str, row)) + "\n").encode())
    return whole.hexdigest()
