"""Small tokenizers of each kind, for models whose own cannot be had without a network."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE

from train.data.vocabulary import learn_wordpiece

SENTENCES = (
    "A dog barks twice, then rain falls on a tin roof.",
    "rain",
    "Somebody is ringing a bell while the wind blows from the sea",
    "a siren at the end of the street",
)


def tokenizer_folder(folder: Path, kind: str = "roberta") -> Path:
    """A small tokenizer, for models whose own cannot be had without a network.

    Args:
        folder: made if it is not there; it gets the vocabulary files of every kind.
        kind: of its ``tokenizer.json``: ``bert``, ``roberta`` or ``gpt2``.
    """
    folder.mkdir(exist_ok=True)
    made = words() if kind == "bert" else byte_pairs(roberta=kind == "roberta")
    (folder / "tokenizer.json").write_text(made.to_str(), encoding="utf-8")
    vocabulary, merges = _pairs()
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    lines = [" ".join(pair) for pair in merges]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *lines, ""]), encoding="utf-8")
    listed = sorted(words().get_vocab().items(), key=lambda item: item[1])
    (folder / "vocab.txt").write_text("\n".join(word for word, _ in listed), encoding="utf-8")
    return folder


def words() -> Tokenizer:
    """A WordPiece vocabulary as BERT has it, the same each time."""
    return learn_wordpiece(SENTENCES, 90)


def byte_pairs(roberta: bool) -> Tokenizer:
    """A small byte-level BPE as GPT-2 has it, or as RoBERTa does, with its special tokens."""
    vocabulary, merges = _pairs()
    made = Tokenizer(BPE(vocabulary, merges, unk_token="<unk>" if roberta else None))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>"] if roberta else ["<|endoftext|>"]
    made.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in special])
    if roberta:
        ends = (("</s>", vocabulary["</s>"]), ("<s>", vocabulary["<s>"]))
        made.post_processor = processors.RobertaProcessing(*ends, add_prefix_space=False)
    return made


def _pairs() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """One vocabulary for both: "!" is 0 as in GPT-2, the padding 1 as in RoBERTa."""
    printable = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    symbols = ["!", "<pad>", "<s>", "</s>", "<unk>", "<mask>", "<|endoftext|>"]
    symbols += [*printable[1:], "\u0120"]
    merges: list[tuple[str, str]] = []
    for word in ("dog", "rain", "siren", " a", " dog", " sound", " of", " rain", "!!", "...", "?!"):
        whole = word.replace(" ", "\u0120")
        for end in range(1, len(whole)):
            pair = (whole[:end], whole[end])
            if pair not in merges:
                merges.append(pair)
                symbols.append("".join(pair))
    return {symbol: index for index, symbol in enumerate(symbols)}, merges
