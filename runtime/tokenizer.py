"""Texts to the text graph's inputs, through the bundle's ``tokenizers`` JSON."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from runtime import tokenizer_file
from runtime.arguments import shown
from runtime.content import Content
from runtime.errors import BackendError, BundleError, LabelError
from runtime.manifest import TextSpec

if TYPE_CHECKING:
    from tokenizers import Encoding

log = logging.getLogger(__name__)

MIN_TOKENS = 2  # an exporter takes an axis of length 1 for one that is always 1
MOST_LETTERS = 20_000  # of a text: no model reads more than some hundred tokens
PANIC = "PanicException"  # of the library: a BaseException that no module exports


class TextTokenizer:
    """A tokenizer with the manifest's suffix, limit and padding.

    Args:
        file: the ``tokenizers`` JSON, or its path.
        spec: the bundle's text specification.
        whole: do not cut texts to the specification's number of tokens.

    Attributes:
        largest_id: of any token that it gives.

    Raises:
        BackendError: tokenizers is not installed.
        BundleError: the file is not a tokenizer, or one with parts that are not run
            (:mod:`runtime.tokenizer_file`).
    """

    def __init__(self, file: Content | Path, spec: TextSpec, whole: bool = False) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise BackendError(
                f"texts need tokenizers, which cannot be imported ({error}). "
                "Install it: pip install tokenizers; or use a saved label bank."
            ) from error
        content = Content.of(file, BundleError)
        checked = tokenizer_file.check(content.data, str(content.path))
        self.largest_id = max(checked.largest_id, spec.pad_id)
        self._unknown_id = checked.unknown_id
        with _library(f"'{content.path}' is not a tokenizers JSON that is used"):
            self._tokenizer = Tokenizer.from_str(checked.text)
        # Length and padding are the manifest's, whatever the JSON was saved with.
        self._tokenizer.no_padding()
        if whole:
            self._tokenizer.no_truncation()
        else:
            self._tokenizer.enable_truncation(  # pyright: ignore[reportUnknownMemberType]
                spec.max_tokens
            )
        self._spec = spec

    def __call__(self, texts: Sequence[str]) -> dict[str, NDArray[np.int64]]:
        """:meth:`encode` and :meth:`inputs` in one step."""
        return self.inputs(self.encode(texts))

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Tokenise texts; those that are too long are cut and named in a logged warning.

        Args:
            texts: no blank text among them.

        Raises:
            LabelError: something that is no text, or a text without tokens.
        """
        encodings: list[Encoding] = []
        for row, text in enumerate(texts):
            if not isinstance(cast(object, text), str) or not text.strip():
                raise LabelError(f"text {row} is {text!r}: pass words.")
            # One by one: encode_batch starts a thread pool, which does not survive a fork.
            encoding = self._encode(text, f"text {row}")
            if not len(encoding):
                raise LabelError(f"text {row} ({text!r}) has no token in this vocabulary.")
            if encoding.overflowing:
                log.warning("text cut to %d tokens: %s", self._spec.max_tokens, shown(text))
            encodings.append(encoding)
        return encodings

    def inputs(self, encodings: Sequence[Encoding]) -> dict[str, NDArray[np.int64]]:
        """A batch for the text graph.

        Args:
            encodings: of at least one text.

        Returns:
            the manifest's inputs, each int64 ``[len(encodings), tokens]``, as long as the longest
            text.
        """
        spec = self._spec
        shape = (len(encodings), max(MIN_TOKENS, *map(len, encodings)))
        arrays = {
            "input_ids": np.full(shape, spec.pad_id, np.int64),
            "attention_mask": np.zeros(shape, np.int64),
            "token_type_ids": np.zeros(shape, np.int64),
        }
        for row, encoding in enumerate(encodings):
            n = len(encoding)
            arrays["input_ids"][row, :n] = encoding.ids
            arrays["attention_mask"][row, :n] = 1
            arrays["token_type_ids"][row, :n] = encoding.type_ids
        return {name: arrays[name] for name in spec.inputs}

    def ids(self, text: str) -> tuple[int, ...]:
        """What the text encoder reads of a text: texts of the same ids are the same to it."""
        return tuple(self._encode(text, "a text").ids)

    def is_unknown(self, text: str) -> bool:
        """Whether no part of a text is in the vocabulary."""
        encoding = self._encode(text, "a text")
        marks = zip(encoding.ids, encoding.special_tokens_mask, strict=True)
        own = {token for token, special in marks if not special}
        return self._unknown_id is not None and own <= {self._unknown_id}

    def _encode(self, text: str, name: str) -> Encoding:
        if len(text) > MOST_LETTERS:
            raise LabelError(
                f"{name} has {len(text)} characters: at most {MOST_LETTERS} are read, and "
                f"{self._spec.max_tokens} tokens of them are used."
            )
        try:
            text.encode()
        except UnicodeEncodeError:
            raise LabelError(f"{name} ({text!r}) holds half of a character: pass words.") from None
        with _library("the tokenizer cannot be run"):
            return self._tokenizer.encode(text + self._spec.suffix)


@contextmanager
def _library(problem: str) -> Generator[None]:
    """Whatever the library raises, in a sentence: it has no exceptions of its own."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == PANIC:
            raise BundleError(f"{problem} ({error}). Export the bundle again.") from error
        raise
