"""Tokenizers of the kinds that text encoders have. Their tokens show where words end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from tokenizers.pre_tokenizers import ByteLevel

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = "the rain is falling on a roof and they're singing 123 times don't".split()


def word_piece(letters: Iterable[str], normalizer: Any) -> Tokenizer:
    """BERT's kind: a letter's token says whether a word begins with it."""
    pieces = [*SPECIAL, *(f"{mark}{letter}" for letter in letters for mark in ("", "##"))]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = normalizer
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.add_special_tokens(SPECIAL)
    return made


def byte_pairs(pattern: str | None, merges: int = 200, **options: Any) -> Tokenizer:
    """GPT-2's, CLIP's and Llama's kind: a byte's token says whether a word ends with it."""
    suffix = "</w>"
    alphabet = sorted(ByteLevel.alphabet())
    pieces = [*SPECIAL, *alphabet, *(letter + suffix for letter in alphabet)]
    pairs: list[tuple[str, str]] = []
    space = "\u0120"
    for word in [*WORDS, *(space + word for word in WORDS)]:
        for size in range(1, len(word)):
            last = suffix if size + 1 == len(word) else ""
            pairs.append((word[:size], word[size] + last))
            pieces.append(word[: size + 1] + last)
    known = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    pairs = list(dict.fromkeys(pairs))[:merges]
    made = Tokenizer(models.BPE(known, pairs, end_of_word_suffix=suffix, **options))
    if pattern is None:
        made.pre_tokenizer = ByteLevel(add_prefix_space=True)
    else:
        made.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), "removed", invert=True),
                ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    made.post_processor = processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made


def letters_of(pre_tokenizer: Any, normalizer: Any, letters: Iterable[str]) -> Tokenizer:
    """Any steps before a model that shows letters, and where words end."""
    suffix = "</w>"
    pieces = [*SPECIAL, *(f"{letter}{mark}" for letter in letters for mark in ("", suffix))]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    made = Tokenizer(
        models.BPE(vocabulary, [], unk_token="[UNK]", end_of_word_suffix=suffix, fuse_unk=True)
    )
    if normalizer is not None:
        made.normalizer = normalizer
    made.pre_tokenizer = pre_tokenizer
    return made


def bert() -> Any:
    """The normalizer of an uncased BERT, behind one that spaces words out."""
    return normalizers.Sequence(
        [normalizers.Replace("_", " "), normalizers.BertNormalizer(lowercase=True)]
    )
