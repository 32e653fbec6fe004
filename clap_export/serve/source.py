"""What is served: a bundle, or a tagger, which brings its own labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.backends import TENSORRT
from runtime.bundle import Bundle
from runtime.tagger_file import TaggerFile

if TYPE_CHECKING:
    from runtime import LabelBank
    from runtime.scores import Mode

TAGGER = ".onnx"


@dataclass(frozen=True)
class Source:
    """What requests are answered from, where they do not say otherwise.

    Attributes:
        bundle: folder of a bundle, an opened one, or a tagger's file.
        bank: the tagger's labels.
        scores: the kind of scores.
        top_k: labels in an answer, or None for all.
    """

    bundle: Path | Bundle
    bank: LabelBank | None = None
    scores: Mode = "softmax"
    top_k: int | None = None

    @classmethod
    def of(cls, path: Path, public_key: Path | None = None, provider: str | None = None) -> Source:
        """From what was typed.

        Args:
            path: folder of a bundle, or a tagger's file (``.onnx``).
            public_key: that must have signed the bundle.
            provider: that shall run it, or None for the default.

        Raises:
            BundleError, SchemaError, LabelError: it cannot be used.
        """
        if path.suffix != TAGGER:
            return cls(path if public_key is None else Bundle(path, public_key=public_key))
        file = TaggerFile(path, engine=provider in (None, TENSORRT))
        return cls(file, file.bank, file.frozen.scores, file.frozen.top_k)
