"""Every text becomes the tokens that the family's own code made of it."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from clap_export.checkpoints.tokenizers import BERT_BASE, GPT2_PADDED, ROBERTA_BASE, fetch_known
from clap_export.model.config import TextEncoderConfig
from runtime.manifest import TextSpec
from runtime.tokenizer import TextTokenizer
from tests import originals
from tests.goldens import texts
from tests.places import GOLDENS, SHARED_AUDIO

KNOWN = {"bert": BERT_BASE, "gpt2": GPT2_PADDED, "roberta": ROBERTA_BASE}
SUFFIX = {"bert": "", "gpt2": " ", "roberta": ""}
PADS = {"bert": 0, "gpt2": 0, "roberta": 1}
# A folder with the published vocabularies, which cannot be shipped: see goldens/make_tokens.py.
VOCABULARIES = os.environ.get("CLAP_EXPORT_VOCABULARIES", "")


@functools.lru_cache
def recorded() -> dict[str, Any]:
    return json.loads((GOLDENS / "tokens.json").read_text(encoding="utf-8"))


def made(kind: Any, folder: Path) -> Tokenizer:
    """As a bundle has it, with the manifest's limit."""
    config = TextEncoderConfig(kind, {"vocab_size": 60_000}, "cls", 77, 0)
    tokenizer = Tokenizer.from_str(fetch_known(folder, KNOWN[kind], config))
    tokenizer.enable_truncation(texts.LIMITS[kind])
    return tokenizer


def expected(kind: str, theirs: list[int]) -> list[int]:
    """msclap does not cut: a longer text fails there in a batch, and alone is read whole."""
    limit = texts.LIMITS[kind]
    return theirs if len(theirs) <= limit else [*theirs[: limit - 1], theirs[-1]]


@pytest.fixture
def folder(kind: str, tmp_path: Path) -> Path:
    made = originals.tokenizer_folder(tmp_path / "words", kind)
    if kind == "bert":  # its small tokenizer.json is of this project's training; theirs is of files
        (made / "tokenizer.json").unlink()
    return made


@pytest.mark.parametrize("kind", texts.LIMITS)
def test_odd_texts(kind: str, folder: Path) -> None:
    tokenizer = made(kind, folder)
    for text, theirs in zip(texts.ODD, recorded()["small"][kind]["odd"], strict=True):
        assert tokenizer.encode(text + SUFFIX[kind]).ids == expected(kind, theirs), text[:40]


@pytest.mark.skipif(not SHARED_AUDIO.is_dir(), reason="the captions are not here")
@pytest.mark.parametrize("kind", texts.LIMITS)
def test_ten_thousand_captions(kind: str, folder: Path) -> None:
    real = texts.captions(SHARED_AUDIO / "captions")
    assert len(real) == recorded()["small"]["captions"] == 10_000
    tokenizer = made(kind, folder)
    if kind != "roberta":  # no caption is so long that it would be cut, but with few merges
        tokenizer.no_truncation()
    ids = [tokenizer.encode(text + SUFFIX[kind]).ids for text in real]
    assert texts.digest(ids) == recorded()["small"][kind]["captions"]


@pytest.mark.skipif(not VOCABULARIES, reason="CLAP_EXPORT_VOCABULARIES names no folder")
@pytest.mark.parametrize("kind", texts.LIMITS)
def test_the_published_vocabularies(kind: str) -> None:
    tokenizer = made(kind, Path(VOCABULARIES, kind))
    for text, theirs in zip(texts.ODD, recorded()["full"][kind]["odd"], strict=True):
        assert tokenizer.encode(text + SUFFIX[kind]).ids == expected(kind, theirs), text[:40]
    ids = [
        tokenizer.encode(text + SUFFIX[kind]).ids
        for text in texts.captions(SHARED_AUDIO / "captions")
    ]
    assert texts.digest(ids) == recorded()["full"][kind]["captions"]


@pytest.mark.parametrize("kind", texts.LIMITS)
def test_a_cut_text_keeps_its_last_token_in_the_runtime(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    config = TextEncoderConfig(kind, {"vocab_size": 60_000}, "cls", 77, 0)  # pyright: ignore[reportArgumentType]
    path = tmp_path / "tokenizer.json"
    path.write_text(fetch_known(folder, KNOWN[kind], config), encoding="utf-8")
    spec = TextSpec("tokenizer.json", 9, PADS[kind], ("input_ids", "attention_mask"), SUFFIX[kind])
    ids = TextTokenizer(path, spec)(["rain", "rain " * 30])["input_ids"]
    assert ids.shape == (2, 9)
    last = {"bert": "[SEP]", "gpt2": "<|endoftext|>", "roberta": "</s>"}[kind]
    want = Tokenizer.from_file(str(path)).token_to_id(last)
    assert ids[1, -1] == want
    assert want in ids[0]
