"""Sentences to learn from, and their way into token ids."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from runtime.errors import ClapError
from tests import tiny
from train.config.data import TextSource
from train.data.texts import collect, encode, in_templates, spans


def test_collect_keeps_captions_and_labels_apart_without_repeats(tmp_path: Path) -> None:
    captions = tmp_path / "captions.csv"
    captions.write_text("one,two\nA dog.,Rain.\nRain.,\n")
    labels = tmp_path / "labels.jsonl"
    labels.write_text('{"name": ["dog_bark", "rain"]}\n{"name": "rain"}\n')
    found = collect(
        [
            TextSource(str(captions), ("one", "two")),
            TextSource(str(labels), ("name",), label=True),
        ],
        ["the sound of {}"],
    )
    assert found == (
        ["A dog.", "Rain."],
        ["dog bark", "the sound of dog bark", "rain", "the sound of rain"],
    )


def test_collect_names_the_column_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "captions.csv"
    path.write_text("caption\nA dog.\n")
    with pytest.raises(ClapError, match=r"captions\.csv, line 2: no column text"):
        collect([TextSource(str(path), ("text",))], [])


def test_in_templates() -> None:
    assert in_templates(["car_horn"], ["a {}", "{} {{x}}"]) == [
        *("car horn", "a car horn", "car horn {{x}}")
    ]


def test_spans_are_runs_of_one_to_four_words_of_a_caption() -> None:
    captions = ["A dog's bark, then rain on a tin-roof!", "Wind.", "..."]
    words = [["a", "dog's", "bark", "then", "rain", "on", "a", "tin-roof"], ["wind"]]
    runs = {
        " ".join(row[i : i + n]) for row in words for n in range(1, 5) for i in range(len(row))
        if i + n <= len(row)
    }  # fmt: skip
    found = spans(captions, 2000, seed=3)
    assert len(found) == 2000
    assert set(found) == runs  # all of them, and nothing else
    assert found == spans(captions, 2000, seed=3)
    assert found != spans(captions, 2000, seed=4)
    assert spans([], 0, seed=0) == []


@pytest.mark.parametrize("captions", [[], ["...", "!"]])
def test_spans_of_captions_without_words_are_refused(captions: list[str]) -> None:
    with pytest.raises(ClapError, match="no captions to cut words from"):
        spans(captions, 5, seed=0)


@pytest.mark.parametrize("name", ["bert-mean", "bert-pooler", "gpt2-last"])
def test_encode_pads_to_the_longest_and_cuts_at_the_limit(name: str) -> None:
    config = dataclasses.replace(tiny.TEXT[name], pad_id=5)
    tokenizer = tiny.tokenizer()
    plain = [tokenizer.encode(text + config.suffix).ids for text in ("rain", "a dog barks")]
    batch = encode(tokenizer, ["rain", "a dog barks"], config)
    longest = max(map(len, plain))
    for row, ids in enumerate(plain):
        pads = longest - len(ids)
        assert batch["input_ids"][row].tolist() == ids + [5] * pads
        assert batch["attention_mask"][row].tolist() == [1] * len(ids) + [0] * pads
    assert ("token_type_ids" in batch) == config.token_type_ids
    if config.token_type_ids:
        assert not batch["token_type_ids"].any()
    long = encode(tokenizer, ["rain " * 50], config)["input_ids"]
    assert long.shape == (1, config.max_tokens)
    assert long[0, -1] == tokenizer.token_to_id("[SEP]")
