"""Tokenizers that a checkpoint needs but does not bring: from a folder, or from the hub."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from tokenizers import AddedToken, Tokenizer
from tokenizers.processors import TemplateProcessing

from clap_export.checkpoints.weights import MAX_JSON_BYTES
from clap_export.model.config import TextEncoderConfig
from runtime import schema
from runtime.errors import ClapError
from runtime.tokenizer_file import MOST_ID, check

T = TypeVar("T")

Kind = Literal["bert", "roberta", "gpt2"]
_CLASS = {"bert": "BertTokenizer", "roberta": "RobertaTokenizer", "gpt2": "GPT2Tokenizer"}
_MODEL = {"bert": "WordPiece", "roberta": "BPE", "gpt2": "BPE"}
_BPE = ("vocab.json", "merges.txt")
_FILES: dict[Kind, tuple[str, ...]] = {"bert": ("vocab.txt",), "roberta": _BPE, "gpt2": _BPE}
# What a folder on the hub may hold of a tokenizer.
FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.txt", *_BPE,
)  # fmt: skip


@dataclass(frozen=True)
class Vocabulary:
    """The tokenizer that a family was trained with.

    Attributes:
        hub_id: its name on the Hugging Face hub.
        kind: of model that it belongs to.
        ids: tokens whose ids the model counts on; None where any id will do.
        ends: tokens that every text begins and ends with.
        split: tokens that the family's code registers as special, so that they are split off
            before words are made of the rest; and whether they take the spaces before them.
        closing: token that the family's code writes behind every text. Put there by the tokenizer
            it stays when a text is cut.
    """

    hub_id: str
    kind: Kind
    ids: Mapping[str, int | None]
    ends: tuple[str, str] | None = None
    split: Mapping[str, bool] = field(default_factory=dict)
    closing: str | None = None


BERT_BASE = Vocabulary(
    "bert-base-uncased", "bert", {"[PAD]": 0, "[CLS]": None, "[SEP]": None}, ("[CLS]", "[SEP]")
)
ROBERTA_BASE = Vocabulary(
    "roberta-base", "roberta", {"<pad>": 1, "<s>": None, "</s>": None}, ("<s>", "</s>"),
    split={"<s>": False, "<pad>": False, "</s>": False, "<unk>": False, "<mask>": True},
)  # fmt: skip
# msclap pads with "!" by registering it as special, and appends " <|endoftext|>" to texts.
GPT2_PADDED = Vocabulary(
    "gpt2", "gpt2", {"!": 0, "<|endoftext|>": None},
    split={"!": False, "<|endoftext|>": False}, closing="<|endoftext|>",
)  # fmt: skip


def fetch_known(folder: Path | None, wanted: Vocabulary, text: TextEncoderConfig) -> str:
    """The tokenizer that a family was trained with, as a ``tokenizers`` JSON.

    A folder may hold several forms of it, or of tokenizers of several kinds: the first that is what
    the family needs is taken.

    Args:
        folder: where its files are; None: from the Hugging Face hub.
        wanted: what it must be.
        text: the tower that it is for.

    Raises:
        ClapError: as :func:`fetch`; or it is of another kind, or has other special tokens.
    """
    source = folder or wanted.hub_id
    forms = [_from_hub(wanted.hub_id)] if folder is None else _forms(folder, wanted.kind)
    misfits = [_misfits(form, wanted, text.options["vocab_size"], source) for form in forms]
    if all(misfits):
        raise ClapError(
            f"tokenizer {source} {', '.join(misfits[0])}: it belongs to another model. This one "
            f"was trained with {wanted.hub_id}."
        )
    found = forms[misfits.index([])]
    found.add_special_tokens([
        AddedToken(token, lstrip=lstrip, normalized=False, special=True)
        for token, lstrip in wanted.split.items()
        if found.token_to_id(token) is not None
    ])  # fmt: skip
    if wanted.closing is not None:
        token = (wanted.closing, found.token_to_id(wanted.closing))
        found.post_processor = TemplateProcessing(
            single=f"$A {wanted.closing}", special_tokens=[token]
        )
    return _plain(found)


def _misfits(found: Tokenizer, wanted: Vocabulary, vocab_size: int, source: object) -> list[str]:
    """What a family's model would not understand of a tokenizer."""
    problems: list[str] = []
    model, needed = type(found.model).__name__, _MODEL[wanted.kind]
    if model != needed:
        problems.append(f"is a {model}, not a {needed}")
    problems += _too_many(found, vocab_size)
    for token, token_id in wanted.ids.items():
        have = found.token_to_id(token)
        if have is None:
            problems.append(f"has no token {token}")
        elif token_id is not None and have != token_id:
            problems.append(f"has {token} as token {have}, not {token_id}")
    if not problems and wanted.ends is not None:
        tokens = _guarded(lambda: found.encode("a").tokens, source)
        if tokens[:1] + tokens[-1:] != [*wanted.ends]:
            problems.append(f"does not put a text between {' and '.join(wanted.ends)}")
    return problems


def fetch(folder: Path | None, hub_id: str, kind: Kind, vocab_size: int) -> str:
    """A tokenizer as a ``tokenizers`` JSON, without truncation or padding of its own.

    Args:
        folder: where its files are: ``tokenizer.json``, or the vocabulary files of its kind. None:
            from the Hugging Face hub (cached there by its library).
        hub_id: what the model was trained with.
        kind: of model that it belongs to.
        vocab_size: rows of the model's embedding table.

    Raises:
        ClapError: not to be had, or it gives ids that the model has no embedding for.
    """
    found = _from_hub(hub_id) if folder is None else _forms(folder, kind)[0]
    if problems := _too_many(found, vocab_size):
        raise ClapError(
            f"tokenizer {folder or hub_id} {problems[0]}: it belongs to another model. This one "
            f"was trained with {hub_id}."
        )
    return _plain(found)


def _too_many(found: Tokenizer, vocab_size: int) -> list[str]:
    # Ids need not be dense, so the number of tokens alone says too little.
    most = max((n + 1 for n in found.get_vocab().values()), default=0)
    if most == 0:
        return ["has no tokens"]
    return [f"has {most} tokens, the checkpoint embeds {vocab_size}"] if most > vocab_size else []


def _plain(found: Tokenizer) -> str:
    found.no_truncation()
    found.no_padding()
    return found.to_str()


def find(folder: Path, kind: Kind) -> Path | None:
    """The folder, if a tokenizer is in it; for checkpoints that bring one or not."""
    whole = (folder / "tokenizer.json").is_file()
    return folder if whole or all((folder / name).is_file() for name in _FILES[kind]) else None


def parse(text: object, where: str) -> Tokenizer:
    """A tokenizer from its JSON.

    Raises:
        ClapError: it is none.
    """
    if not isinstance(text, str):
        raise ClapError(f"{where}: the tokenizer is a {type(text).__name__}, not a text.")
    return _checked(text.encode("utf-8", "surrogatepass"), where)


def _forms(folder: Path, kind: Kind) -> list[Tokenizer]:
    """The tokenizers of a folder: of its ``tokenizer.json``, of its vocabulary files."""
    if find(folder, kind) is None:
        raise ClapError(
            f"no tokenizer in {folder}: it must hold tokenizer.json, or "
            f"{' and '.join(_FILES[kind])}. Give --tokenizer FOLDER."
        )
    there = [path for path in map(folder.joinpath, FILES) if path.is_file()]
    large = [path.name for path in there if path.stat().st_size > MAX_JSON_BYTES]
    if large:
        raise ClapError(f"the tokenizer in {folder} is too large to be one: {', '.join(large)}.")
    forms: list[Tokenizer] = []
    whole = folder / "tokenizer.json"
    if whole in there:
        forms.append(_checked(whole.read_bytes(), str(whole)))
    if all(folder / name in there for name in _FILES[kind]):
        others = [path for path in there if path != whole]
        try:
            forms.append(_guarded(lambda: _from_vocabulary(others, kind), folder))
        except ClapError:
            if not forms:
                raise
    return forms


def _from_vocabulary(files: list[Path], kind: Kind) -> Tokenizer:
    import transformers

    # In a folder of their own: transformers prefers a tokenizer.json that lies beside them, and
    # makes an empty tokenizer where they are missing.
    with tempfile.TemporaryDirectory() as folder:
        for path in files:
            shutil.copyfile(path, Path(folder, path.name))
        if kind != "bert":
            _check_ids(schema.read_json(Path(folder, "vocab.json"), "vocab.json", ClapError))
        made = getattr(transformers, _CLASS[kind]).from_pretrained(folder, local_files_only=True)
    found = made.backend_tokenizer
    _check_ids(found.get_vocab())  # those of added tokens too
    return _checked(found.to_str().encode(), "the vocabulary")


def _check_ids(table: object) -> None:
    """A vocabulary's ids: the library asks for memory for all numbers up to the largest."""
    ids = table.values() if isinstance(table, dict) else ()
    if not ids or not all(type(n) is int and 0 <= n < MOST_ID for n in ids):
        raise ValueError(f"it holds no table of tokens with ids below {MOST_ID}")


def _checked(data: bytes, where: str) -> Tokenizer:
    """A tokenizer from its JSON, which has been looked through before the library reads it."""
    text = check(data, where).text
    return _guarded(lambda: Tokenizer.from_str(text), where)


def _from_hub(hub_id: str) -> Tokenizer:
    from huggingface_hub import hf_hub_download

    try:
        return Tokenizer.from_file(hf_hub_download(hub_id, "tokenizer.json"))
    except Exception as error:  # many kinds: offline, gated, damaged
        raise ClapError(
            f"the checkpoint brings no tokenizer, and {hub_id} could not be had from the Hugging "
            f"Face hub ({_first_line(error)}). Give --tokenizer FOLDER with its files."
        ) from error


def _guarded(make: Callable[[], T], where: object) -> T:
    """What reads a tokenizer's files; the libraries raise plain Exception, and Rust's panics."""
    try:
        return make()
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ClapError(
            f"the tokenizer in {where} cannot be read ({_first_line(error)})."
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().split("\n")[0] or type(error).__name__).rstrip(".")
