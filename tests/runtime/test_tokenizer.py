"""Texts to fixed-length int64 inputs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import Encoder
from runtime.errors import BackendError, BundleError, LabelError
from runtime.manifest import FileEntry, TextSpec, read_manifest, write_manifest
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


# Files that the library cannot be trusted with


def document() -> dict[str, Any]:
    return json.loads(tinybundle.tokenizer().to_str())


def word_piece() -> dict[str, Any]:
    from tests import tiny

    return json.loads(tiny.tokenizer().to_str())


def replaced(*steps: tuple[str, str]) -> dict[str, Any]:
    made = [{"type": "Replace", "pattern": {"String": a}, "content": b} for a, b in steps]
    return {"normalizer": {"type": "Sequence", "normalizers": made}}


TEMPLATE: dict[str, Any] = {
    "type": "TemplateProcessing",
    "single": [{"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [],
    "special_tokens": {},
}
PRECOMPILED = {"type": "Precompiled", "precompiled_charsmap": "/////w=="}
REGEX = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Removed", "invert": False}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalizer": PRECOMPILED}, "'Precompiled' is not one of"),
        ({"normalizer": {"type": "Sequence", "normalizers": [PRECOMPILED]}}, "'Precompiled'"),
        ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "Sequence"}]}}, "'Sequence'"),
        (replaced(*[("a", "a" * 16)] * 9), "replaces text by longer text"),
        (replaced(("a", "bb")), "replaces text by longer text"),
        (replaced(("", "")), "known to end"),
        (replaced(*[("a", "b")] * 17), "not a list of at most 16"),
        ({"normalizer": {"type": "Prepend", "prepend": "x" * 9}}, "at most 8"),
        ({"normalizer": {"type": "Replace", "pattern": {"Regex": "(a|a)*$"}, "content": ""}},
         "known to end"),
        ({"pre_tokenizer": REGEX}, "known to end"),
        ({"pre_tokenizer": {"type": "Delimiter"}}, "'Delimiter'"),
        ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}] * 3}},
         "more than once"),
        ({"post_processor": {**TEMPLATE, "single": [
            {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "x", "type_id": 0}}]}},
         "not described"),
        ({"post_processor": {**TEMPLATE, "single": []}}, "does not hold every text once"),
        ({"post_processor": {**TEMPLATE, "single": TEMPLATE["single"] * 2}}, "every text once"),
        ({"post_processor": {**TEMPLATE, "special_tokens": {
            "x": {"id": "x", "ids": [1, 2], "tokens": ["x"]}}}}, "other numbers of ids"),
        ({"post_processor": {**TEMPLATE, "special_tokens": {
            "x": {"id": "x", "ids": [2**40], "tokens": ["x"]}}}}, "a number from 0 to"),
        ({"post_processor": {"type": "BertProcessing", "sep": ["x"], "cls": ["y", 1]}}, "special"),
        ({"added_tokens": [{"id": 2**70, "content": "x"}]}, "a number has|a number from 0"),
        ({"added_tokens": [{"id": 1, "content": ""}]}, "is empty"),
        ({"added_tokens": {"a": 1}}, "not a list|not a tokenizers JSON"),
        ({"model": {"type": "Unigram", "vocab": [["a", 0.0]]}}, "'Unigram'"),
        ({"model": {"type": "WordLevel", "vocab": {}, "unk_token": "x"}}, "vocabulary is empty"),
        ({"model": {"type": "WordLevel", "vocab": {"a": -1}, "unk_token": "a"}}, "ids that are"),
        ({"model": {"type": "WordLevel", "vocab": {"a": "1"}, "unk_token": "a"}}, "ids that are"),
        ({"model": {"type": "WordLevel", "vocab": {"a" * 999: 1}}}, "more than 512 letters"),
        ({"model": {"type": "WordPiece", "vocab": {"a": 1}, "unk_token": "a",
                    "continuing_subword_prefix": "##", "max_input_chars_per_word": 2**60}},
         "from 1 to 200"),
        ({"model": {"type": "BPE", "vocab": {"a": 1}, "merges": [], "dropout": 0.5}}, "chance"),
        ({"model": {"type": "BPE", "vocab": {"a": 1}, "merges": [["a"]]}}, "one of two tokens"),
        ({"model": {"type": "BPE", "vocab": {"a": 1}, "merges": ["a b"]}}, "tokenizers JSON"),
        ({"model": None}, "model is not a table"),
    ],
)  # fmt: skip
def test_parts_that_are_not_run(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({**document(), **changes}))
    with pytest.raises(BundleError, match=message):
        make(tmp_path)(["dog a a a a"])


@pytest.mark.parametrize("data", [b"", b"[]", b"[" * 100_000, b'"', b"\xff", b"null", b"\0" * 9])
def test_other_files(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(data)
    with pytest.raises(BundleError, match="not a tokenizers JSON that is used"):
        make(tmp_path)


def test_damaged_tokenizers_are_refused_or_run_and_nothing_else(tmp_path: Path) -> None:
    """Values are swapped for others at random places; the seed's outcome is always the same."""
    rng = random.Random(0)
    values = [None, 0, -1, 2**31, 2**64, 1e300, "", "x", "[UNK]", "é" * 600, [], {}, True, [[]]]
    ran = longest = 0
    for i in range(1500):
        made = document() if i % 2 else word_piece()
        at: Any = made
        while True:
            keys = list(at) if isinstance(at, dict) else range(len(at))
            key = rng.choice(list(keys))
            if isinstance(at[key], (dict, list)) and at[key] and rng.random() < 0.7:
                at = at[key]
                continue
            at[key] = rng.choice(values)
            break
        (tmp_path / "tokenizer.json").write_text(json.dumps(made))
        try:
            make(tmp_path)(["a dog barks twice!", "é" * 300, "\u202e狗"])
            ran += 1
        except (BundleError, LabelError) as error:
            longest = max(longest, len(str(error)))
    assert ran > 100
    assert longest < 1000  # characters of a message


def test_a_panic_of_the_library_is_a_sentence(
    tiny_bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from tokenizers import Tokenizer

    from runtime.tokenizer import _library

    broken = document()
    broken["post_processor"]["single"][0]["SpecialToken"]["id"] = "unknown"
    with pytest.raises(BundleError, match="it cannot be run"), _library("it cannot be run"):
        Tokenizer.from_str(json.dumps(broken)).encode("a dog")
    with pytest.raises(KeyboardInterrupt), _library("no"):
        raise KeyboardInterrupt
    capfd.readouterr()  # the library's own lines


def test_texts_that_no_model_reads(tiny_bundle: Path) -> None:
    tokenizer = make(tiny_bundle)
    with pytest.raises(LabelError, match="text 1 has 20001 characters: at most 20000 are read"):
        tokenizer(["dog", "a" * 20_001])
    with pytest.raises(LabelError, match=r"text 0 \('dog\\udc80'\) holds half of a character"):
        tokenizer(["dog\udc80"])
    assert tokenizer(["a " * 9_000])["input_ids"].shape == (1, 12)


def test_what_two_texts_have_in_common(tiny_bundle: Path) -> None:
    tokenizer = make(tiny_bundle)
    assert tokenizer.ids("a dog") == tokenizer.ids(" a  dog ") != tokenizer.ids("dog a")
    assert tokenizer.largest_id == len(WORDS) - 1
    assert tokenizer.is_unknown("狗叫 cat")
    assert not tokenizer.is_unknown("狗叫 dog")


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = tinybundle.build(tmp_path / "b")
    made = document()
    made["model"]["vocab"]["more"] = 17
    data = json.dumps(made).encode()
    (folder / "tokenizer.json").write_bytes(data)
    manifest = read_manifest(folder)
    entry = FileEntry(hashlib.sha256(data).hexdigest(), len(data))
    files = {**manifest.files, "tokenizer.json": entry}
    write_manifest(folder, dataclasses.replace(manifest, files=files))
    with pytest.raises(BundleError, match=r"ids up to 17, 'text.onnx' embeds 17 tokens"):
        Encoder(folder).embed_text("dog")
    spec = dataclasses.replace(SPEC, pad_id=17)
    with pytest.raises(BundleError, match="ids up to 17"):
        Encoder(tinybundle.build(tmp_path / "pad", text=spec)).embed_text("dog")
