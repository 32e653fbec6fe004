"""Tokens are those of the library ``tokenizers``, for every kind that a text encoder may have."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import random
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers

from runtime.bundle import entries
from runtime.manifest import TextSpec, write_manifest
from tests.goldens import texts as awkward
from tests.runtime.cpp import tokenizers_of as kinds
from tests.tiny import bundle as tiny

FILES = ("audio.onnx", "text.onnx", "tokenizer.json")
MOST = 1 << 16  # tokens
# Scripts in use. The library takes some properties from Unicode 8, so that punctuation and marks of
# rarer scripts that came later are no punctuation and marks to it.
LETTERS = [
    chr(code)
    for code in itertools.chain(
        range(0x01, 0x0600), range(0x0620, 0x0700), range(0x0900, 0x0980), range(0x0E00, 0x0E80),
        range(0x1100, 0x1200), range(0x1E00, 0x2BFF), range(0x3000, 0x32FF), range(0x4E00, 0x4E40),
        range(0xAC00, 0xAC40), range(0xF900, 0xFB00), range(0xFE30, 0xFFFD),
        range(0x1F300, 0x1F650), range(0x2B920, 0x2B940),
    )
    if unicodedata.category(chr(code)) not in ("Cn", "Cs")
]  # fmt: skip
FORMS = ("NFC", "NFD", "NFKC", "NFKD")
ALPHABET = sorted(
    {
        part
        for letter in LETTERS
        for form in FORMS
        for case in (letter, letter.lower())
        for part in unicodedata.normalize(form, case)
    }
)


def tokens(ask: Callable[..., Any], folder: Path, made: Tokenizer, given: list[str]) -> Any:
    """The C++ runtime's tokens of texts, or its error."""
    folder.mkdir(exist_ok=True)
    for name in FILES[:2]:
        (folder / name).write_bytes(b"none")
    (folder / "tokenizer.json").write_text(made.to_str())
    spec = TextSpec("tokenizer.json", MOST, 0, ("input_ids", "attention_mask"), "")
    write_manifest(
        folder, dataclasses.replace(tiny.MANIFEST, files=entries(folder, FILES), text=spec)
    )
    answer = ask("tokens", folder.parent, bundle=folder.name, texts=given)
    if "error" in answer:
        return answer["error"]
    ids, mask = (
        np.frombuffer(base64.b64decode(found["base64"]), np.int64).reshape(found["shape"])
        for found in (answer["outputs"]["input_ids"], answer["outputs"]["attention_mask"])
    )
    return [row[: kept.sum()].tolist() for row, kept in zip(ids, mask, strict=True)]


def around(letter: str) -> str:
    """A text in which a letter stands in a word, alone, beside a digit, and under an accent."""
    return f"a{letter}b {letter}1{letter} e{letter}\u0301x"


MADE: dict[str, Callable[[], Tokenizer]] = {
    "bert": lambda: kinds.word_piece(ALPHABET, kinds.bert()),
    "bert, cased": lambda: kinds.word_piece(
        ALPHABET,
        normalizers.BertNormalizer(
            lowercase=False, strip_accents=False, handle_chinese_chars=False
        ),
    ),
    "gpt-2": lambda: kinds.byte_pairs(None),
    "clip": lambda: kinds.byte_pairs(kinds.CLIP),
    "llama 3": lambda: kinds.byte_pairs(kinds.LLAMA3),
    "gpt-2 as a pattern": lambda: kinds.byte_pairs(kinds.GPT2, ignore_merges=True),
    "words": lambda: kinds.letters_of(pre_tokenizers.Whitespace(), normalizers.NFKC(), ALPHABET),
    "between spaces": lambda: kinds.letters_of(
        pre_tokenizers.WhitespaceSplit(),
        normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents()]),
        ALPHABET,
    ),
    "punctuation": lambda: kinds.letters_of(
        pre_tokenizers.Sequence(
            [pre_tokenizers.Punctuation("merged_with_next"), pre_tokenizers.Digits(True)]
        ),
        normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()]),
        ALPHABET,
    ),
}


@pytest.mark.parametrize("kind", MADE)
def test_every_letter_in_every_place(ask: Callable[..., Any], tmp_path: Path, kind: str) -> None:
    made = MADE[kind]()
    given = [around(letter) for letter in LETTERS]
    found = tokens(ask, tmp_path / "b", made, given)
    wanted = [made.encode(text).ids for text in given]
    wrong = [
        hex(ord(letter))
        for letter, one, other in zip(LETTERS, found, wanted, strict=True)
        if one != other
    ]
    assert not wrong


def mixed(count: int, seed: int) -> list[str]:
    """Texts of words, marks, spaces of all kinds and letters of all scripts, at random."""
    draw = random.Random(seed)
    parts = [
        *kinds.WORDS, "'s", "'LL", "don\u2019t", "  ", "\n", "\r\n", "\t ", "\u00a0", "\u3000",
        "...", "!?", "--", "3.14", "1234567", "\u00bd", "caf\u00e9", "cafe\u0301",
        "\u0130\u0131", "\u00df", "\ufb01", "\u72d7\u5728\u53eb", "[CLS]", "[SEP]", " [PAD]",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u0643\u0644\u0628", "\ufffd",
        "\u0007", "<", "</w>", "##ing", "_",
    ]  # fmt: skip
    texts: list[str] = []
    while len(texts) < count:
        text = "".join(
            draw.choice(parts if draw.random() < 0.8 else LETTERS) + draw.choice(["", " "])
            for _ in range(draw.randint(1, 12))
        )
        if text.strip():
            texts.append(text)
    return texts


@pytest.mark.parametrize("kind", MADE)
def test_thousands_of_texts(ask: Callable[..., Any], tmp_path: Path, kind: str) -> None:
    made = MADE[kind]()
    given = [text for text in [*awkward.ODD, *mixed(2000, 7)] if made.encode(text).ids]
    assert len(given) > 1900
    found = tokens(ask, tmp_path / "b", made, given)
    wanted = [made.encode(text).ids for text in given]
    wrong = [text for text, one, other in zip(given, found, wanted, strict=True) if one != other]
    assert not wrong


def test_added_tokens_are_cut_out_first(ask: Callable[..., Any], tmp_path: Path) -> None:
    made = kinds.word_piece(ALPHABET, kinds.bert())
    made.add_tokens(
        [
            AddedToken("<mask>", lstrip=True, normalized=False),
            AddedToken("<end>", rstrip=True, normalized=False),
            AddedToken("Rain", single_word=True, normalized=True),
            AddedToken("rainfall", normalized=True),
        ]
    )
    given = [
        "a <mask> b", "a   <mask><end>  b", "RAIN rains", "the rainfall, Rain! rain",
        "<MASK> <end>", "[CLS][SEP] [cls]", "<mask", "r\u00e1in", "\u96e8rain\u96e8",
    ]  # fmt: skip
    assert tokens(ask, tmp_path / "b", made, given) == [made.encode(t).ids for t in given]


def test_bytes_that_are_no_token_and_unknown_letters(
    ask: Callable[..., Any], tmp_path: Path
) -> None:
    base = kinds.letters_of(pre_tokenizers.WhitespaceSplit(), None, "abc")
    given = ["abc", "axxb \u00e9", "xx", "a\u72d7b"]
    for options in ({"fuse_unk": True}, {"fuse_unk": False}, {"byte_fallback": True}):
        text = base.to_str()
        for name, value in options.items():
            before = str(not value).lower()
            text = text.replace(f'"{name}":{before}', f'"{name}":{str(value).lower()}')
        made = Tokenizer.from_str(text)
        folder = tmp_path / next(iter(options)) / str(next(iter(options.values())))
        folder.parent.mkdir(exist_ok=True)
        assert tokens(ask, folder, made, given) == [made.encode(t).ids for t in given]
