"""Texts to the text graph's inputs, through the bundle's ``tokenizers`` JSON."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import TextSpec
from runtime.errors import BackendError, BundleError, LabelError

if TYPE_CHECKING:
    from tokenizers import Encoding

log = logging.getLogger(__name__)

MIN_TOKENS = 2  # an exporter takes an axis of length 1 for one that is always 1


class TextTokenizer:
    """A tokenizer with the manifest's suffix, limit and padding.

    Args:
        path: the ``tokenizers`` JSON.
        spec: the bundle's text specification.

    Raises:
        BackendError: tokenizers is not installed.
        BundleError: the file is not a tokenizer.
    """

    def __init__(self, path: Path, spec: TextSpec) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise BackendError(
                f"texts need tokenizers, which cannot be imported ({error}). "
                "Install it: pip install tokenizers; or use a saved label bank."
            ) from error
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises plain Exception
            raise BundleError(f"'{path}' is not a tokenizers JSON ({error}).") from error
        # Length and padding are the manifest's, whatever the JSON was saved with.
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(  # pyright: ignore[reportUnknownMemberType]
            spec.max_tokens
        )
        self._spec = spec

    def __call__(self, texts: Sequence[str]) -> dict[str, NDArray[np.int64]]:
        """Tokenise texts; those that are too long are cut and named in a logged warning.

        Args:
            texts: not empty, no blank text among them.

        Returns:
            the manifest's inputs, each int64 ``[len(texts), tokens]``, as long as the longest text.

        Raises:
            LabelError: something that is no text, or a text without tokens.
        """
        spec = self._spec
        encodings: list[Encoding] = []
        for row, text in enumerate(texts):
            if not isinstance(cast(object, text), str) or not text.strip():
                raise LabelError(f"text {row} is {text!r}: pass words.")
            # One by one: encode_batch starts a thread pool, which does not survive a fork.
            encoding = self._tokenizer.encode(text + spec.suffix)
            if not encoding.ids:
                raise LabelError(f"text {row} ({text!r}) has no token in this vocabulary.")
            if encoding.overflowing:
                log.warning("text cut to %d tokens: %r", spec.max_tokens, text)
            encodings.append(encoding)
        shape = (len(texts), max(MIN_TOKENS, *(len(encoding.ids) for encoding in encodings)))
        arrays = {
            "input_ids": np.full(shape, spec.pad_id, np.int64),
            "attention_mask": np.zeros(shape, np.int64),
            "token_type_ids": np.zeros(shape, np.int64),
        }
        for row, encoding in enumerate(encodings):
            n = len(encoding.ids)
            arrays["input_ids"][row, :n] = encoding.ids
            arrays["attention_mask"][row, :n] = 1
            arrays["token_type_ids"][row, :n] = encoding.type_ids
        return {name: arrays[name] for name in spec.inputs}
