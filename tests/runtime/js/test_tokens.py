"""Tokens of awkward texts by the library that Python uses, and by the one that JavaScript uses."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from runtime.manifest import FileEntry, read_manifest, write_manifest
from runtime.tokenizer import TextTokenizer
from tests.tiny import bundle as tinybundle

WORDS = (
    "the sound of a dog barking in the rain, and it's 3 o'clock: Café naïve über Straße don't we'll"
).split()
TEXTS = [
    *"""a dog
A DOG!
it's raining, isn't it?
  two  spaces 
tab\there
naïve café
Straße
über 1234567 times
don't WE'LL
日本語の音
emoji 🐕 bark
a\u0301ccent
mixed中文and text
dash-dash—dash
\u00a0no-break
…
a<mask>b
[SEP] a [CLS]
İstanbul
ǅ titlecase
ﬁ ligature
100€ £5
ωμέγα ΩΜΕΓΑ ς
снег идёт
हिन्दी
العربية
ไทย
zero\u200bwidth
soft\u00adhyphen
\u202eright
a  b   c
's
''
'lls
1st 2nd
foo_bar""".split("\n"),
    "new\nline",
    "x" * 300,
    "the sound " * 60,
]


def wordpiece() -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    made.train_from_iterator(
        [*WORDS, *TEXTS], trainers.WordPieceTrainer(vocab_size=200, special_tokens=special)
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    made.decoder = decoders.WordPiece()
    return made


def roberta() -> Tokenizer:
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    made.train_from_iterator([" ".join(WORDS), *TEXTS], trainer)
    made.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), add_prefix_space=False
    )
    return made


def gpt2() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=350,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    made.train_from_iterator([" ".join(WORDS)], trainer)
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    return made


def clip() -> Tokenizer:
    made = Tokenizer(
        models.BPE(
            unk_token="<|endoftext|>", continuing_subword_prefix="", end_of_word_suffix="</w>"
        )
    )
    made.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(_regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    pattern = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_regex(pattern), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<|startoftext|>", "<|endoftext|>"],
        end_of_word_suffix="</w>", initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    made.train_from_iterator([" ".join(WORDS)], trainer)
    made.post_processor = processors.RobertaProcessing(
        ("<|endoftext|>", 1), ("<|startoftext|>", 0), trim_offsets=False, add_prefix_space=False
    )
    return made


def _regex(pattern: str) -> Any:
    from tokenizers import Regex

    return Regex(pattern)


@pytest.mark.parametrize("make", [wordpiece, roberta, gpt2, clip])
def test_tokens_are_the_same(make: Any, js: Path, tmp_path: Path) -> None:
    folder = tinybundle.build(tmp_path / "bundle")
    data = make().to_str().encode()
    (folder / "tokenizer.json").write_bytes(data)
    manifest = read_manifest(folder)
    manifest = replace(manifest, text=replace(manifest.text, max_tokens=40))
    manifest.files["tokenizer.json"] = FileEntry(hashlib.sha256(data).hexdigest(), len(data))
    write_manifest(folder, manifest)
    tokenizer = TextTokenizer(folder / "tokenizer.json", manifest.text)

    requests = [
        {
            "id": str(i),
            "task": "tokens",
            "kit": str(tmp_path),
            "input": {"bundle": "bundle", "texts": [text]},
        }
        for i, text in enumerate(TEXTS)
    ]
    done = subprocess.run(
        ["node", f"{js}/dist/conformance/command.js"], capture_output=True, text=True, check=True,
        input="".join(json.dumps(request) + "\n" for request in requests),
    )  # fmt: skip
    different = {}
    for text, line in zip(TEXTS, done.stdout.splitlines(), strict=True):
        found = {
            name: np.frombuffer(base64.b64decode(array["base64"]), array["dtype"]).tolist()
            for name, array in json.loads(line)["outputs"].items()
        }
        wanted = {name: rows[0].tolist() for name, rows in tokenizer([text]).items()}
        if found != wanted:
            different[text] = (found["input_ids"], wanted["input_ids"])
    assert not different
