"""What a head is fitted on: vectors of a library, and the labels that people gave them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from clap_export.library import given
from clap_export.library.given import Columns
from clap_export.library.vectors import Vectors
from runtime.errors import ClapError
from runtime.plain_text import printable

Shared: TypeAlias = "tuple[str, str | None]"  # what recordings may have in common, and its value

COPIES = "sha256"  # recordings of the same bytes are one group


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled vectors.

    Attributes:
        names: of the labels.
        vectors: float32 ``[n, dim]`` of unit norm.
        right: bool ``[n, labels]``, at least one true in each row and column.
        groups: int64 ``[n]``; those of one group stay together when some are left out.
        grouped_by: what a group is, in a word.
        missing: recordings with a label that the library has no vector of.
    """

    names: tuple[str, ...]
    vectors: NDArray[np.float32]
    right: NDArray[np.bool_]
    groups: NDArray[np.int64]
    grouped_by: str
    missing: tuple[str, ...] = ()

    @property
    def several(self) -> bool:
        """Whether a recording has several labels."""
        return bool((self.right.sum(axis=1) > 1).any())

    @property
    def classes(self) -> NDArray[np.int64]:
        """The label of each, where it has one: int64 ``[n]``."""
        return self.right.argmax(axis=1)

    def only(self, rows: NDArray[np.int64]) -> Examples:
        """Some of them; every label must be among them."""
        return Examples(
            self.names, self.vectors[rows], self.right[rows], self.groups[rows], self.grouped_by
        )


def read(library: Vectors, source: Path, columns: Columns) -> Examples:
    """The labelled recordings of a library.

    Args:
        library: with their vectors.
        source: of the labels; see :func:`clap_export.library.given.read`.
        columns: of a listing.

    Raises:
        ClapError: no label can be read, none is of a recording in the library, or there is one
            label alone.
    """
    labels = given.read(source, columns, library.keys() if source.is_dir() else ())
    vectors: list[NDArray[np.float32]] = []
    names: list[frozenset[str]] = []
    shared: list[tuple[Shared, ...]] = []
    left = set(labels.of)
    for stretch in library.stretches(("path", "member", "sha256")):
        keys = stretch.keys
        copies = stretch.table.column("sha256").to_pylist()
        rows = [i for i, key in enumerate(keys) if key in labels.of]
        vectors.append(stretch.vectors[rows])
        for i in rows:
            left.discard(keys[i])
            names.append(labels.of[keys[i]])
            shared.append(
                (("copy", copies[i] or str(keys[i])), ("group", labels.groups.get(keys[i])))
            )
    missing = tuple(printable(path if m is None else f"{path}: {m}") for path, m in sorted(
        left, key=lambda key: (key[0], key[1] or "")))  # fmt: skip
    if not names:
        raise ClapError(
            f"'{source}' gives labels to {len(labels.of):,} recordings, such as '{missing[0]}', "
            f"none of which has a vector in the library '{library.folder}': embed them first."
        )
    found = sorted(frozenset().union(*names))
    if len(found) < 2:
        raise ClapError(
            f"'{source}' gives one label alone, {found[0]!r}: a head tells labels from each other. "
            "Label recordings of something else too, such as 'other'."
        )
    right = np.array([[name in own for name in found] for own in names])
    return Examples(
        tuple(found), np.concatenate(vectors), right, together(shared), columns.group or COPIES,
        missing,
    )  # fmt: skip


def together(shared: Sequence[tuple[Shared, ...]]) -> NDArray[np.int64]:
    """Recordings that share anything, or are linked by others that do, in one group: int64 ``[n]``.

    Copies in two groups of a listing would otherwise be learned from in one, and asked for in the
    other.
    """
    next_up = list(range(len(shared)))
    first: dict[Shared, int] = {}

    def head(at: int) -> int:
        while next_up[at] != at:
            next_up[at] = at = next_up[next_up[at]]
        return at

    for i, values in enumerate(shared):
        for each in values:
            if each[1]:
                next_up[head(i)] = head(first.setdefault(each, i))
    return np.array([head(i) for i in range(len(shared))], np.int64)
