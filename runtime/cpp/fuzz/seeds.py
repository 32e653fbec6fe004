"""Small files for the fuzzers to begin with, made of a bundle, and banks or heads.

python runtime/cpp/fuzz/seeds.py FOLDER BUNDLE BANK...
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

LETTERS = "abcdefgr"


def small(path: Path) -> dict[str, Any]:
    """A tokenizer with all of its steps and a few of its tokens."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    model = found["model"]
    kept = dict(list(model["vocab"].items())[:40])
    model["vocab"] = kept
    if "merges" in model:
        merges: list[list[str] | str] = model["merges"]
        pairs = (merge if isinstance(merge, list) else merge.split(" ") for merge in merges)
        model["merges"] = [[a, b] for a, b in pairs if {a, b, a + b} <= kept.keys()][:20]
    return found


def others() -> dict[str, dict[str, Any]]:
    """Tokenizers of other kinds than the bundle's."""
    vocabulary = {letter: i for i, letter in enumerate([*LETTERS, "ab", "abc", "[UNK]"])}
    pairs = {"type": "BPE", "vocab": vocabulary, "merges": [["a", "b"], ["ab", "c"]]}
    levels = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    normalizers = [{"type": "NFKC"}, {"type": "Strip", "strip_left": True, "strip_right": True}]
    added = {"id": 11, "content": "<end>", "single_word": True, "lstrip": True, "rstrip": True}
    return {
        "pairs": {
            "model": {**pairs, "unk_token": "[UNK]", "byte_fallback": True, "fuse_unk": True},
            "pre_tokenizer": levels,
            "normalizer": {"type": "Sequence", "normalizers": normalizers},
            "post_processor": {"type": "RobertaProcessing", "sep": ["[UNK]", 10], "cls": ["a", 0]},
            "added_tokens": [{**added, "special": True, "normalized": False}],
        },
        "words": {
            "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
            "pre_tokenizer": {"type": "Punctuation", "behavior": "MergedWithNext"},
        },
    }


def main(folder: Path, bundle: Path, *banks: Path) -> None:
    """See the module."""
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    made: dict[str, dict[str, bytes]] = {
        "manifest": {"whole": json.dumps(manifest).encode()},
        "npz": {bank.stem: bank.read_bytes() for bank in banks},
        "onnx": {"audio": (bundle / manifest["audio_graph"]["file"]).read_bytes()[: 1 << 14]},
        "tokenizer": {
            name: json.dumps(found).encode() + b"\0ab <end> Abc"
            for name, found in {
                "own": small(bundle / manifest["text"]["tokenizer"]), **others()
            }.items()
        },
    }  # fmt: skip
    for reader, files in made.items():
        (folder / reader).mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / reader / name).write_bytes(data)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
