"""Tokenizers that a checkpoint needs but does not bring: from a folder, or from the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tokenizers import Tokenizer

from runtime.errors import ClapError

Kind = Literal["bert", "roberta", "gpt2"]
_CLASS = {"bert": "BertTokenizer", "roberta": "RobertaTokenizer", "gpt2": "GPT2Tokenizer"}
_BPE = ("vocab.json", "merges.txt")
_FILES: dict[Kind, tuple[str, ...]] = {"bert": ("vocab.txt",), "roberta": _BPE, "gpt2": _BPE}


def fetch(folder: Path | None, hub_id: str, kind: Kind, vocab_size: int) -> str:
    """A tokenizer as a ``tokenizers`` JSON, without truncation or padding of its own.

    Args:
        folder: where its files are: ``tokenizer.json``, or the vocabulary files of its kind. None:
            from the Hugging Face hub (cached there by its library).
        hub_id: what the family was trained with.
        kind: of model that it belongs to.
        vocab_size: rows of the model's embedding table.

    Raises:
        ClapError: not to be had, or it gives ids that the model has no embedding for.
    """
    found = _from_hub(hub_id) if folder is None else _from_folder(folder, kind)
    found.no_truncation()
    found.no_padding()
    source = folder or hub_id
    if found.get_vocab_size() > vocab_size:
        raise ClapError(
            f"tokenizer {source} has {found.get_vocab_size()} tokens, the checkpoint embeds "
            f"{vocab_size}: it belongs to another model. This one was trained with {hub_id}."
        )
    return found.to_str()


def find(folder: Path, kind: Kind) -> Path | None:
    """The folder, if a tokenizer is in it; for checkpoints that bring one or not."""
    whole = (folder / "tokenizer.json").is_file()
    return folder if whole or all((folder / name).is_file() for name in _FILES[kind]) else None


def _from_folder(folder: Path, kind: Kind) -> Tokenizer:
    whole = folder / "tokenizer.json"
    # transformers makes an empty tokenizer of a folder without these, and says nothing.
    if find(folder, kind) is None:
        raise ClapError(
            f"no tokenizer in {folder}: it must hold tokenizer.json, or "
            f"{' and '.join(_FILES[kind])}. Give --tokenizer FOLDER."
        )
    try:
        if whole.is_file():
            return Tokenizer.from_file(str(whole))
        import transformers

        made = getattr(transformers, _CLASS[kind]).from_pretrained(folder, local_files_only=True)
        return Tokenizer.from_str(made.backend_tokenizer.to_str())
    except Exception as error:  # the libraries raise plain Exception
        raise ClapError(
            f"the tokenizer in {folder} cannot be read ({_first_line(error)})."
        ) from error


def _from_hub(hub_id: str) -> Tokenizer:
    from huggingface_hub import hf_hub_download

    try:
        return Tokenizer.from_file(hf_hub_download(hub_id, "tokenizer.json"))
    except Exception as error:  # many kinds: offline, gated, damaged
        raise ClapError(
            f"the checkpoint brings no tokenizer, and {hub_id} could not be had from the Hugging "
            f"Face hub ({_first_line(error)}). Give --tokenizer FOLDER with its files."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().split("\n")[0] or type(error).__name__).rstrip(".")
