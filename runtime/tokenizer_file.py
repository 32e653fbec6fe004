"""``tokenizer.json`` is looked through before the library that runs it sees it.

The library trusts its files: some end the process, some panic, some make a text grow without end,
and a pattern may take for ever. What the text encoders of CLAP need is little, and it is listed
here; the rest is refused by name. Its values are described in :mod:`runtime.schema`'s terms.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from runtime import schema
from runtime.errors import BundleError
from runtime.plain_text import printable

MOST_BYTES = 64 << 20  # the largest in use, of 250 thousand tokens, have 17 million
MOST_TOKENS = 1 << 20
MOST_ID = 1 << 24
MOST_STEPS = 16  # of a list of normalizers, pre-tokenizers or parts of a template
MOST_LETTERS = 512  # of one token
# WordPiece tries every beginning of a word, so that its time is the square of this.
MOST_LETTERS_OF_A_WORD = 200
# Of GPT-2, CLIP and Llama 3: patterns that are known to end.
PATTERNS = frozenset(
    {
        r"\s+",
        r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    }
)
PARTS = ("added_tokens", "normalizer", "pre_tokenizer", "post_processor", "model")
NORMALIZERS = frozenset(
    "BertNormalizer NFC NFD NFKC NFKD Lowercase Strip StripAccents Replace Prepend Sequence".split()
)
PRE_TOKENIZERS = frozenset(
    """
    BertPreTokenizer ByteLevel Whitespace WhitespaceSplit Punctuation Digits Split Sequence
    """.split()
)
POST_PROCESSORS = frozenset(
    "TemplateProcessing BertProcessing RobertaProcessing ByteLevel Sequence".split()
)
MODELS = frozenset("WordPiece WordLevel BPE".split())


@dataclass(frozen=True)
class TokenizerFile:
    """A tokenizer that may be run.

    Attributes:
        text: the JSON for the library, without its own padding, truncation and decoder.
        largest_id: of any token.
        unknown_id: of the token that stands for what is not in the vocabulary, if there is one.
    """

    text: str
    largest_id: int
    unknown_id: int | None


class _Bad(Exception):
    """Why a file is refused."""


def check(data: bytes, name: str) -> TokenizerFile:
    """Look through a ``tokenizers`` JSON.

    Args:
        data: the file.
        name: of it, for the message.

    Raises:
        BundleError: it is none, or has parts that no text encoder here needs.
    """
    where = f"'{name}' is not a tokenizers JSON that is used: it"
    if len(data) > MOST_BYTES:
        raise BundleError(f"{where} has {len(data)} bytes, at most {MOST_BYTES} are read.")
    found = schema.read_json(data, where, BundleError)
    try:
        return _tokenizer(_table(found, "the document"))
    except _Bad as problem:
        raise BundleError(
            f"'{name}' is not a tokenizers JSON that is used: {printable(str(problem))}. "
            "Export the bundle again."
        ) from None


def _tokenizer(found: dict[str, Any]) -> TokenizerFile:
    model = _table(found.get("model"), "model")
    vocabulary = _model(model)
    added = _list(found.get("added_tokens") or [], "added_tokens", MOST_TOKENS)
    ids = [*vocabulary.values(), *(_added(_table(token, "added_tokens")) for token in added)]
    _chain(found.get("normalizer"), "normalizer", NORMALIZERS, _normalizer)
    _chain(found.get("pre_tokenizer"), "pre_tokenizer", PRE_TOKENIZERS, _pre_tokenizer)
    _chain(
        found.get("post_processor"), "post_processor", POST_PROCESSORS,
        lambda part: ids.extend(_post_processor(part)),
    )  # fmt: skip
    if not vocabulary:
        raise _Bad("its vocabulary is empty")
    kept = {"version": "1.0", **{part: found.get(part) for part in PARTS}}
    kept["added_tokens"] = found.get("added_tokens") or []
    unknown = model.get("unk_token")
    return TokenizerFile(json.dumps(kept), max(ids), vocabulary.get(unknown) if unknown else None)


def _model(model: dict[str, Any]) -> dict[str, int]:
    """Its vocabulary."""
    kind = model.get("type") or ("BPE" if "merges" in model else None)
    if _text(kind, "type of model", MOST_LETTERS) not in MODELS:
        raise _Bad(f"its model {kind!r} is not one of {', '.join(sorted(MODELS))}")
    vocabulary = _table(model.get("vocab"), "model.vocab")
    if len(vocabulary) > MOST_TOKENS:
        raise _Bad(f"its vocabulary has {len(vocabulary)} tokens")
    if not all(type(i) is int and 0 <= i < MOST_ID for i in vocabulary.values()):
        raise _Bad("its vocabulary holds ids that are none")
    if vocabulary and max(map(len, vocabulary)) > MOST_LETTERS:
        raise _Bad(f"it has tokens of more than {MOST_LETTERS} letters")
    for key in ("unk_token", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key) is not None:
            _text(model[key], f"model.{key}", MOST_LETTERS)
    if kind == "WordPiece":
        _whole(model.get("max_input_chars_per_word"), "words", 1, MOST_LETTERS_OF_A_WORD)
    if kind == "BPE":
        if model.get("dropout"):
            raise _Bad("it leaves merges to chance (dropout)")
        merges = _list(model.get("merges"), "model.merges", MOST_TOKENS)
        # Both parts and what they make are in the vocabulary, or the library refuses them.
        if not all(isinstance(merge, str) or _is_pair(merge) for merge in merges):
            raise _Bad("a merge is not one of two tokens")
    return cast("dict[str, int]", vocabulary)


def _is_pair(merge: Any) -> bool:
    return (
        type(merge) is list
        and len(cast("list[Any]", merge)) == 2
        and all(isinstance(part, str) for part in cast("list[Any]", merge))
    )


def _added(token: dict[str, Any]) -> int:
    if not _text(token.get("content"), "an added token", MOST_LETTERS):
        raise _Bad("an added token is empty")
    return _whole(token.get("id"), "the id of an added token", 0, MOST_ID)


def _chain(
    part: Any, where: str, known: frozenset[str], look: Callable[[dict[str, Any]], object]
) -> None:
    """A step, or a sequence of them, which has no sequences inside."""
    if part is None:
        return
    steps = [_table(part, where)]
    if steps[0].get("type") == "Sequence":
        inside: Any = next(
            (v for k, v in steps[0].items() if k in (f"{where}s", "pretokenizers", "processors")),
            None,
        )
        steps = [_table(step, where) for step in _list(inside, where, MOST_STEPS)]
        known = known - {"Sequence"}
    for step in steps:
        kind = _text(step.get("type"), f"type of {where}", MOST_LETTERS)
        if kind not in known:
            raise _Bad(f"its {where} {kind!r} is not one of {', '.join(sorted(known))}")
        look(step)
    # Each of these writes a byte beyond ASCII as two.
    if sum(step["type"] == "ByteLevel" for step in steps) > 1:
        raise _Bad(f"its {where} turns bytes into letters more than once")


def _normalizer(step: dict[str, Any]) -> None:
    if step["type"] == "Replace":
        pattern = _pattern(step.get("pattern"))
        if len(_text(step.get("content"), "a replacement", MOST_LETTERS)) > len(pattern):
            raise _Bad("a normalizer replaces text by longer text")
    if step["type"] == "Prepend":
        _text(step.get("prepend"), "what is put before a text", 8)


def _pre_tokenizer(step: dict[str, Any]) -> None:
    if step["type"] == "Split":
        _pattern(step.get("pattern"))


def _pattern(found: Any) -> str:
    """The shortest text that a pattern finds, or one as long."""
    pattern = _table(found, "a pattern")
    if set(pattern) == {"String"}:
        text = _text(pattern["String"], "a pattern", MOST_LETTERS)
        if text:
            return text
    if set(pattern) == {"Regex"} and _text(pattern["Regex"], "a pattern", 1000) in PATTERNS:
        return " "
    raise _Bad(f"its pattern {str(pattern)[:80]!r} is not one of those that are known to end")


def _post_processor(step: dict[str, Any]) -> list[int]:
    """Ids of the special tokens that it puts around a text."""
    if step["type"] in ("BertProcessing", "RobertaProcessing"):
        pairs = [_list(step.get(key), f"post_processor.{key}", 2) for key in ("sep", "cls")]
        if any(len(pair) != 2 or not isinstance(pair[0], str) for pair in pairs):
            raise _Bad("its post_processor does not name its special tokens")
        return [_whole(pair[1], "the id of a special token", 0, MOST_ID) for pair in pairs]
    if step["type"] != "TemplateProcessing":
        return []
    ids: list[int] = []
    special = _table(step.get("special_tokens") or {}, "special_tokens")
    if len(special) > MOST_STEPS:
        raise _Bad(f"its template has {len(special)} special tokens")
    for token in special.values():
        entry = _table(token, "special_tokens")
        own = _list(entry.get("ids"), "special_tokens.ids", MOST_STEPS)
        if len(own) != len(_list(entry.get("tokens"), "special_tokens.tokens", MOST_STEPS)):
            raise _Bad("its template's special tokens have other numbers of ids than of names")
        ids += [_whole(i, "the id of a special token", 0, MOST_ID) for i in own]
    for key, wanted in (("single", {"A"}), ("pair", {"A", "B"})):
        pieces = [_table(p, key) for p in _list(step.get(key) or [], key, MOST_STEPS)]
        named = [p["SpecialToken"] for p in pieces if set(p) == {"SpecialToken"}]
        texts = [p["Sequence"] for p in pieces if set(p) == {"Sequence"}]
        if len(named) + len(texts) != len(pieces):
            raise _Bad(f"its template '{key}' has pieces of another kind")
        if any(_name(name, key) not in special for name in named):
            raise _Bad(f"its template '{key}' names a special token that is not described")
        found = [_name(text, key) for text in texts]
        if (pieces or key == "single") and (len(found) != len(wanted) or set(found) != wanted):
            raise _Bad(f"its template '{key}' does not hold every text once")
        for piece in (*named, *texts):
            _whole(piece.get("type_id"), "type_id", 0, 1)
    return ids


def _name(piece: Any, where: str) -> str:
    return _text(_table(piece, where).get("id"), f"an id of template '{where}'", MOST_LETTERS)


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Bad(f"{where} is not a table")
    return cast("dict[str, Any]", value)


def _list(value: Any, where: str, most: int) -> list[Any]:
    if not isinstance(value, list) or len(cast("list[Any]", value)) > most:
        raise _Bad(f"{where} is not a list of at most {most}")
    return cast("list[Any]", value)


def _text(value: Any, where: str, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise _Bad(f"{where} is not a text of at most {most} characters")
    return value


def _whole(value: Any, where: str, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise _Bad(f"{where}: a number from {low} to {high} is needed")
    return value
