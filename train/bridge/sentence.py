"""The text side of a bridge: a finished text encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from clap_export.checkpoints import load
from clap_export.checkpoints.families import download
from clap_export.checkpoints.weights import read_json
from clap_export.model.config import ProjectionConfig, TextEncoderConfig
from runtime.errors import ClapError
from train.config.bridge import SentenceSource
from train.contrastive import pretrained
from train.machine import package

_KINDS = ("bert", "roberta", "gpt2")


@dataclass(frozen=True, eq=False)
class Sentence:
    """What of a model comes from a text encoder.

    Attributes:
        encoder, projection: its tower, and what lies behind it.
        dim: dimensions of its vectors.
        tokenizer: a ``tokenizers`` JSON.
        tensors: of ``text_encoder`` and ``text_projection``, by the model's names.
    """

    encoder: TextEncoderConfig
    projection: ProjectionConfig
    dim: int
    tokenizer: str
    tensors: Mapping[str, Tensor]


def read(source: SentenceSource) -> Sentence:
    """Read a text encoder's files.

    Raises:
        ClapError: they are missing, or of no kind that is known.
    """
    if source.checkpoint is not None:
        return _of_checkpoint(str(package.find(source.checkpoint, "text.checkpoint")))
    return _of_encoder(source, str(package.find(str(source.encoder), "text.encoder")))


def _of_checkpoint(path: str) -> Sentence:
    found = load(path)
    model = found.model
    tensors = {
        name: value
        for name, value in model.state_dict().items()
        if name.startswith(("text_encoder.", "text_projection."))
    }
    config = model.config
    # A bridge's text tower ends before its own space begins.
    dim = config.embedding_dim if config.bridge is None else config.bridge.text_dim
    return Sentence(config.text_encoder, config.text_projection, dim, found.tokenizer, tensors)


def _of_encoder(source: SentenceSource, name: str) -> Sentence:
    folder = Path(name) if Path(name).is_dir() else download(name, "text.encoder")
    raw = read_json(folder / "config.json")
    kind = raw.get("model_type")
    if kind not in _KINDS:
        raise ClapError(f"text.encoder {name} is a {kind}; text towers are {', '.join(_KINDS)}.")
    pad = raw.get("pad_token_id") or 0
    wanted = TextEncoderConfig(kind, {}, source.pooling, source.max_tokens, pad, kind == "bert")
    start = pretrained.read_text(str(folder), wanted)
    options = start.config.options
    dim = options.get("hidden_size") or options["n_embd"]
    return Sentence(
        start.config, ProjectionConfig("none"), dim, start.tokenizer.to_str(), start.state.tensors
    )
