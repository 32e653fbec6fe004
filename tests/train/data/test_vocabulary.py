"""The learned WordPiece vocabulary: what BERT's scheme asks for, and the same in every run."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
from tokenizers import Tokenizer

from tests import tiny
from tests.places import ROOT
from train.data.vocabulary import learn_wordpiece


def greedy_longest_match(word: str, vocabulary: dict[str, int]) -> list[str]:
    """WordPiece by its definition: the longest piece that fits, again and again."""
    pieces: list[str] = []
    while word:
        prefix = "##" if pieces else ""
        fits = [n for n in range(len(word), 0, -1) if prefix + word[:n] in vocabulary]
        if not fits:
            return ["[UNK]"]
        pieces.append(prefix + word[: fits[0]])
        word = word[fits[0] :]
    return pieces


def test_special_tokens_are_the_first_four() -> None:
    tokenizer = tiny.tokenizer()
    assert [tokenizer.id_to_token(i) for i in range(4)] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    # Learning gives letters inside words special care; they are ordinary tokens afterwards.
    added = {
        token.content: token.special for token in tokenizer.get_added_tokens_decoder().values()
    }
    assert added == dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]"], True)


def test_size_is_a_limit_and_ids_have_no_gaps() -> None:
    for size in (60, 90, 10_000):
        vocabulary = learn_wordpiece(tiny.SENTENCES, size).get_vocab()
        assert len(vocabulary) <= size
        assert sorted(vocabulary.values()) == list(range(len(vocabulary)))
    assert len(learn_wordpiece(tiny.SENTENCES, 90).get_vocab()) == 90


def test_every_letter_is_a_token_and_letters_inside_words_too() -> None:
    vocabulary = learn_wordpiece(["ab, ba", "ac!"], 100).get_vocab()
    letters = {token for token in vocabulary if len(token.removeprefix("##")) == 1}
    assert letters == {"a", "b", "c", ",", "!", "##a", "##b", "##c"}


def test_encodes_by_greedy_longest_match_between_cls_and_sep() -> None:
    tokenizer = tiny.tokenizer()
    vocabulary = tokenizer.get_vocab()
    for text in ("the dog barking in the rain", "sea bells blow", "a", "fox zebra 7"):
        want = [piece for word in text.split() for piece in greedy_longest_match(word, vocabulary)]
        assert tokenizer.encode(text).tokens == ["[CLS]", *want, "[SEP]"]


def test_case_accents_and_underscores_do_not_matter() -> None:
    tokenizer = tiny.tokenizer()
    want = tokenizer.encode("the dog barks").ids
    for text in ("The Dog BARKS", "the_dog_barks", "thé dòg barks", "  the dog\tbarks "):
        assert tokenizer.encode(text).ids == want


def test_hash_marks_in_a_text_are_punctuation() -> None:
    tokens = tiny.tokenizer().encode("##a").tokens
    assert tokens == ["[CLS]", "[UNK]", "[UNK]", "a", "[SEP]"]


def test_decodes_to_the_words() -> None:
    tokenizer = tiny.tokenizer()
    assert tokenizer.decode(tokenizer.encode("a dog barks in rain").ids) == "a dog barks in rain"


def test_survives_its_json() -> None:
    tokenizer = tiny.tokenizer()
    again = Tokenizer.from_str(tokenizer.to_str())
    for text in tiny.SENTENCES:
        assert again.encode(text).ids == tokenizer.encode(text).ids


def test_the_same_texts_give_the_same_tokenizer() -> None:
    # Random words have many ties, which a hash table's order would decide otherwise each time.
    rng = np.random.default_rng(0)
    letters = list("abcdefghijklmnopqrst")
    texts = [" ".join("".join(rng.choice(letters, 5)) for _ in range(8)) for _ in range(60)]
    assert len({learn_wordpiece(texts, 300).to_str() for _ in range(5)}) == 1


def test_another_process_learns_the_same() -> None:
    code = (
        "import hashlib; from train.data.vocabulary import learn_wordpiece as learn;"
        f"print(hashlib.sha256(learn({tiny.SENTENCES!r}, 90).to_str().encode()).hexdigest())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed},
            check=True, capture_output=True, text=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(found) == 1
    assert len(found.pop().strip()) == 64
