"""Label banks: names to text embeddings, made once, saved, and used without a text encoder."""

from __future__ import annotations

import logging
import mmap as mapping
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from runtime import bank_file, files
from runtime.arguments import shown
from runtime.clips.pooling import mean_embedding
from runtime.errors import BundleError, LabelError
from runtime.head import Head
from runtime.plain_text import is_control, printable
from runtime.problems import listed
from runtime.prompts import check_templates, fill_all

if TYPE_CHECKING:
    from runtime.manifest import Manifest
    from runtime.tokenizer import TextTokenizer

NORM_TOLERANCE = 1e-3  # float32 rounding is 1e-7; half precision of other writers 5e-4
ROWS = 1 << 14  # whose norms are taken at once: the squares of a large bank would double its memory
MOST_LETTERS = 1000  # of a name
MOST_TEXT = 256 << 20  # bytes of a file of labels

log = logging.getLogger(__name__)


class TextEncoder(Protocol):
    """What labels are embedded with: a :class:`runtime.Encoder`, or what stands for one."""

    @property
    def manifest(self) -> Manifest:
        """Of the bundle."""
        ...

    @property
    def tokenizer(self) -> TextTokenizer:
        """Of the text encoder."""
        ...

    def embed_text(self, texts: str | Sequence[str]) -> NDArray[np.float32]:
        """Float32 ``[n, dim]`` of unit norm."""
        ...


@dataclass(frozen=True, eq=False)
class LabelBank:
    """Labels and their embeddings.

    Attributes:
        names: of the labels, without duplicates.
        templates: the prompts they were put through; empty when every label had its own texts.
        embeddings: float32 ``[len(names), dim]`` of unit norm, read-only.
        space_id: of the bundle whose text encoder made them, or in whose space they were learned.
        warnings: of :meth:`build`, a sentence each: labels that the text encoder cannot tell apart,
            or knows no part of. They are not saved.
        head: what makes their cosines scores, of labels that were learned from examples; else None.

    Raises:
        LabelError: the parts do not fit together (all problems are listed).
    """

    names: tuple[str, ...]
    templates: tuple[str, ...]
    embeddings: NDArray[np.float32]
    space_id: str
    warnings: tuple[str, ...] = field(default=(), compare=False)
    head: Head | None = None

    def __post_init__(self) -> None:
        problems = _name_problems(self.names) + _embedding_problems(self.names, self.embeddings)
        if self.head is not None and not problems:
            problems = self.head.problems(self.embeddings)
        if problems:
            raise LabelError(f"ill-formed label bank: {'; '.join(problems)}.")
        if self.embeddings.flags.writeable:  # threads share it
            frozen: NDArray[np.float32] = np.array(self.embeddings)
            frozen.setflags(write=False)
            object.__setattr__(self, "embeddings", frozen)

    def __len__(self) -> int:
        return len(self.names)

    def __reduce__(self) -> tuple[object, ...]:
        # Made anew, so that it is checked, and read-only, where it is unpickled.
        embeddings = np.array(self.embeddings)
        return type(self), (self.names, self.templates, embeddings, self.space_id, (), self.head)

    @classmethod
    def build(
        cls,
        encoder: TextEncoder,
        labels: Sequence[str] | Mapping[str, str | Sequence[str]],
        templates: str | Sequence[str] | None = None,
    ) -> LabelBank:
        """Embed labels: the mean over all prompts of a label, scaled to unit norm.

        Args:
            encoder: whose text encoder is used.
            labels: names, each put through every template; or a mapping of names to one or more
                texts, which are used as they are.
            templates: one or more prompts with one ``{}`` each; default the manifest's.

        Raises:
            LabelError: no labels, blank or duplicate names, an ill-formed template, or templates
                given with a mapping.
            BackendError: the text encoder cannot be run.
        """
        if isinstance(labels, (str, bytes)) or not isinstance(cast(object, labels), Iterable):
            raise LabelError(f"labels is {shown(labels)}: pass a list of names.")
        names = tuple(labels)
        problems = _name_problems(names)
        if problems:
            raise LabelError(f"these labels cannot be used: {'; '.join(problems)}.")
        if isinstance(labels, Mapping):
            if templates is not None:
                raise LabelError("templates do not apply to labels that bring their own texts.")
            used: tuple[str, ...] = ()
            prompts = [
                list(texts) if isinstance(texts, (list, tuple)) else [cast(str, texts)]
                for texts in labels.values()
            ]
            for name, texts in zip(names, prompts, strict=True):
                if not texts:
                    raise LabelError(f"label {name!r} has no text: give it at least one.")
        else:
            used = check_templates(
                encoder.manifest.default_template if templates is None else templates
            )
            prompts = [fill_all(used, name) for name in names]
        flat = encoder.embed_text([text for texts in prompts for text in texts])
        groups = np.split(flat, np.cumsum([len(texts) for texts in prompts])[:-1])
        embeddings = np.stack([mean_embedding(group) for group in groups])
        warnings = tuple(_warnings(encoder, names, prompts))
        for warning in warnings:
            log.warning("%s", warning)
        return cls(names, used, embeddings, encoder.manifest.space_id, warnings)

    def check_space(self, space_id: str) -> None:
        """Make sure that the bank belongs to a bundle's embedding space.

        Raises:
            BundleError: it does not.
        """
        if self.space_id != space_id:
            raise BundleError(
                f"the label bank belongs to embedding space {self.space_id}, the bundle to "
                f"{space_id}: their cosines would mean nothing. {self._again}"
            )

    @property
    def _again(self) -> str:
        if self.head is not None:
            return (
                "It is a head: fit it again on a library of this bundle: clap-export head LIB "
                "LABELS -o head.npz"
            )
        return "Build the bank again with this bundle: clap-export labels BUNDLE FILE -o bank.npz"

    def check_fits(self, manifest: Manifest) -> None:
        """Make sure that the bank can be looked up with a bundle's embeddings.

        Raises:
            BundleError: it belongs to another space.
            LabelError: it has another number of dimensions.
        """
        self.check_space(manifest.space_id)
        self.check_dim(manifest.embedding_dim, "bundle")

    def check_dim(self, dim: int, of: str) -> None:
        """Make sure that the bank has so many dimensions; a space's name alone may lie.

        Args:
            dim: of what it is to be used with.
            of: what that is, in a word.

        Raises:
            LabelError: it has another number.
        """
        if self.embeddings.shape[1] != dim:
            raise LabelError(
                f"the label bank has {self.embeddings.shape[1]} dimensions, the {of} {dim}."
            )

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the bank as an uncompressed ``.npz``, without pickle.

        Readers see the whole file or none, also while several processes write it.

        Args:
            path: of the file to write; a symbolic link is followed, a device is refused.
            overwrite: replace a file that is there.

        Raises:
            LabelError: the file exists, or cannot be written.
        """
        version = bank_file.FORMAT_VERSION
        if self.head is not None:
            meta = bank_file.HeadMeta(
                bank_file.HEAD_FORMAT, version, self.space_id, self.names, self.head.about
            )
        else:
            meta = bank_file.Meta(
                bank_file.FORMAT, version, self.space_id, self.names, self.templates
            )
        with (
            files.writing(path, overwrite=overwrite, error=LabelError) as part,
            part.open("wb") as file,
        ):
            bank_file.write(file, meta, self.embeddings, self.head)

    @classmethod
    def load(cls, path: str | Path, *, mmap: bool = False) -> LabelBank:
        """Read a saved bank.

        Args:
            path: of the ``.npz``.
            mmap: map the embeddings instead of reading them: processes then share the memory.
                :meth:`save` never changes a file that is mapped, it puts a new one in its place.
                Whoever cuts a mapped file short in place ends this process (SIGBUS), as with every
                mapped file.

        Raises:
            LabelError: missing, truncated, not a label bank, or with unknown, missing or ill-typed
                parts (all are listed).
        """
        missing = f"no label bank at '{path}'. Make one: clap-export labels BUNDLE FILE -o bank.npz"
        with files.reading(path, missing=missing, error=LabelError) as file:
            try:
                content = bank_file.read(file, mmap)
            except bank_file.NotABank as error:
                raise LabelError(
                    f"'{path}' is truncated or no label bank ({error}). Build it again."
                ) from error
        meta, embeddings, problems = content.meta, content.embeddings, content.problems
        if embeddings is not None:
            problems += _embedding_problems(None if meta is None else meta.names, embeddings)
        if meta is not None:
            problems += _name_problems(meta.names)
        if content.head is not None and embeddings is not None and not problems:
            problems += content.head.problems(embeddings)
        if problems or meta is None or embeddings is None:
            raise LabelError(
                f"'{path}' is no usable label bank: {'; '.join(problems)}. Build it again."
            )
        return cls._checked(meta, embeddings, content.head)

    @classmethod
    def _checked(
        cls,
        meta: bank_file.Meta | bank_file.HeadMeta,
        embeddings: NDArray[np.float32],
        head: Head | None,
    ) -> LabelBank:
        """A bank of parts that have been checked, which takes a while when they are large."""
        bank = object.__new__(cls)
        templates = meta.templates if isinstance(meta, bank_file.Meta) else ()
        values = (meta.names, templates, embeddings, meta.space_id, (), head)
        for name, value in zip(cls.__dataclass_fields__, values, strict=True):
            object.__setattr__(bank, name, value)
        return bank


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Read names from a text file: UTF-8, one a line; blank lines and lines with ``#`` are skipped.

    Raises:
        LabelError: missing, not text, without labels, or with duplicates.
    """
    missing = (
        f"no label file at '{path}'. Pass a text file with one label a line, a saved bank "
        "(.npz), or a list of names."
    )
    data = files.read(path, most=MOST_TEXT, missing=missing, error=LabelError)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelError(f"'{path}' is not UTF-8 text ({error}).") from error
    if "\0" in text:
        raise LabelError(f"'{path}' is a binary file, not a list of labels.")
    lines = (line.strip() for line in text.splitlines())
    names = tuple(line for line in lines if line and not line.startswith("#"))
    problems = _name_problems(names)
    if problems:
        raise LabelError(f"'{path}': {'; '.join(problems)}.")
    return names


def _warnings(encoder: TextEncoder, names: Sequence[str], prompts: list[list[str]]) -> list[str]:
    """Labels that get a score which says nothing about them."""
    tokenizer = encoder.tokenizer
    same: defaultdict[tuple[tuple[int, ...], ...], list[str]] = defaultdict(list)
    unknown: list[str] = []
    for name, texts in zip(names, prompts, strict=True):
        same[tuple(sorted(tokenizer.ids(text) for text in texts))].append(name)
        # With the words of a template around it a text always holds something that is known.
        own = [name] if any(name in text and name != text for text in texts) else texts
        if all(tokenizer.is_unknown(text) for text in own):
            unknown.append(name)
    found = [
        f"labels {listed([*map(repr, group)], between=', ')} are the same to the text encoder: "
        "they share their score."
        for group in same.values()
        if len(group) > 1
    ]
    if unknown:
        found.append(
            f"the text encoder knows no part of {'label' if len(unknown) == 1 else 'labels'} "
            f"{listed([*map(repr, unknown)], between=', ')}: "
            f"{'its score means' if len(unknown) == 1 else 'their scores mean'} nothing."
        )
    return found


def _name_problems(names: Sequence[object]) -> list[str]:
    if not names:
        return ["no labels"]
    problems: list[str] = []
    seen: set[str] = set()
    for i, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            problems.append(f"label {i} is {printable(repr(name)[:80])}, not a name")
        elif len(name) > MOST_LETTERS:
            problems.append(f"label {i} has {len(name)} characters, at most {MOST_LETTERS} are")
        elif not name.isprintable() and any(map(is_control, name)):
            problems.append(f"label {i}, '{printable(name)}', holds control characters")
        elif name in seen:
            problems.append(f"{name!r} is listed twice")
        else:
            seen.add(name)
    return [listed(list(dict.fromkeys(problems)))] if problems else []


def _embedding_problems(names: Sequence[str] | None, embeddings: NDArray[Any]) -> list[str]:
    if embeddings.dtype != np.float32:
        return [f"embeddings are {embeddings.dtype}, not float32"]
    # Of rows without a number a file of no length may have any number.
    is_table = embeddings.ndim == 2 and embeddings.shape[1] > 0
    if not is_table or (names is not None and len(embeddings) != len(names)):
        wanted = "n" if names is None else len(names)
        return [f"embeddings have shape {embeddings.shape}, not ({wanted}, dim)"]
    worst = 0.0
    for start in range(0, len(embeddings), ROWS):
        rows = embeddings[start : start + ROWS]
        norms = np.sqrt(np.einsum("nd,nd->n", rows, rows))
        if not np.isfinite(norms).all():
            return ["embeddings hold NaN or infinite values"]
        worst = max(worst, float(np.abs(norms - 1).max()))
        if isinstance(embeddings.base, mapping.mmap) and hasattr(mapping, "MADV_DONTNEED"):
            # What was looked at would count as this process' memory, of which little is needed.
            embeddings.base.madvise(mapping.MADV_DONTNEED)
    if worst > NORM_TOLERANCE:
        return [f"embeddings are not of unit norm (off by {worst:.2g})"]
    return []
