"""Texts to fixed-length int64 inputs."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import TextSpec
from runtime.errors import BackendError, BundleError, LabelError
from runtime.tokenizer import TextTokenizer
from tests.tiny import bundle as tinybundle

SPEC = tinybundle.MANIFEST.text
WORDS = {word: i for i, word in enumerate(tinybundle.VOCABULARY)}


def make(folder: Path, spec: TextSpec = SPEC) -> TextTokenizer:
    return TextTokenizer(folder / "tokenizer.json", spec)


def test_ids_mask_and_padding(tiny_bundle: Path) -> None:
    arrays = make(tiny_bundle)(["a dog", "rain"])
    assert list(arrays) == ["input_ids", "attention_mask"]
    for array in arrays.values():
        assert array.dtype == np.int64
        assert array.shape == (2, 4)  # as long as the longest
    assert arrays["input_ids"].tolist() == [
        [2, WORDS["a"], WORDS["dog"], 3], [2, WORDS["rain"], 3, 0]
    ]  # fmt: skip
    assert arrays["attention_mask"].sum(axis=1).tolist() == [4, 3]


def test_inputs_and_pad_id_follow_the_manifest(tiny_bundle: Path) -> None:
    spec = dataclasses.replace(SPEC, inputs=("token_type_ids", "input_ids"), pad_id=1)
    arrays = make(tiny_bundle, spec)(["dog", "a dog"])
    assert list(arrays) == ["token_type_ids", "input_ids"]
    assert not arrays["token_type_ids"].any()
    assert arrays["input_ids"][0, 3:].tolist() == [1]


def test_suffix(tiny_bundle: Path) -> None:
    spec = dataclasses.replace(SPEC, suffix=" rain")
    assert np.array_equal(
        make(tiny_bundle, spec)(["dog"])["input_ids"],
        make(tiny_bundle)(["dog rain"])["input_ids"],
    )


def test_truncation_keeps_the_last_special_token_and_warns(
    tiny_bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = make(tiny_bundle)
    with caplog.at_level(logging.WARNING):
        fits = tokenizer(["dog " * 10])["input_ids"]
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        cut = tokenizer(["rain", "dog " * 11])["input_ids"]
    assert np.array_equal(cut[1], fits[0])
    assert cut[1, -1] == WORDS["[SEP]"]
    (record,) = caplog.records
    assert "cut to 12 tokens: 'dog dog" in record.getMessage()


def test_padding_and_truncation_stored_in_the_json_do_not_matter(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    stored = tinybundle.tokenizer()
    stored.enable_truncation(3)
    stored.enable_padding(length=40, pad_id=5)
    stored.save(str(tmp_path / "tokenizer.json"))
    text = ["this is a sound of rain"]
    assert np.array_equal(make(tmp_path)(text)["input_ids"], make(tiny_bundle)(text)["input_ids"])


@pytest.mark.parametrize("text", ["", "  \n", None, 3])
def test_blank_texts_are_refused(tiny_bundle: Path, text: object) -> None:
    with pytest.raises(LabelError, match="text 1 is"):
        make(tiny_bundle)(["dog", text])


def test_not_a_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BundleError, match="not a tokenizers JSON"):
        make(tmp_path)


def test_library_missing(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(BackendError, match="pip install tokenizers"):
        make(tiny_bundle)
