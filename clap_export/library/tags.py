"""Labels for all recordings of a library, from its vectors: a table beside its parts.

``tags/NAME.parquet`` has a row for each recording that has a vector, known by path and member. Its
metadata says what made it, and how each part was then: a table of parts that have changed since is
stale.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from clap_export import __version__
from clap_export.library.vectors import ROWS, Stretch, Vectors
from runtime import files, schema
from runtime.head import About
from runtime.labels import LabelBank
from runtime.library import columns
from runtime.library.arrow import parquet, pyarrow
from runtime.library.columns import RECORDINGS
from runtime.library.description import LibraryError
from runtime.schema import Text
from runtime.scores import Mode, Ranking

TAGS = "tags"  # folder of a library
SUFFIX = ".parquet"
FORMAT: Literal["clap-export-tags"] = "clap-export-tags"
FORMAT_VERSION: Literal[1] = 1
METADATA = b"clap-export-tags"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
AT_ONCE = 1 << 22  # cosines: as many as some labels have of a whole stretch of the library
FEW = 8  # best labels that are looked for one by one, in place of sorting all


@dataclass(frozen=True)
class State:
    """How a part was.

    Attributes:
        bytes: of its file.
        mtime_ns: when it was written.
    """

    bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class Said:
    """What a table says of itself.

    Attributes:
        space_id: of the labels and the library.
        labels: that could have been given.
        templates: the prompts they were put through.
        labels_sha256: of their embeddings.
        scores: what scores are.
        threshold: labels with a lower score were left out.
        min_similarity: labels with a lower cosine were left out.
        top_k: most labels of a recording.
        head: of labels that were learned from examples.
        parts: of the library, as they were.
        tools: versions of what made it.
    """

    format: Literal["clap-export-tags"]
    format_version: Literal[1]
    space_id: Annotated[str, Text(255)]
    labels: tuple[str, ...]
    templates: tuple[str, ...]
    labels_sha256: Annotated[str, Text(64)]
    scores: Mode
    threshold: float | None
    min_similarity: float | None
    top_k: int
    head: About | None
    parts: dict[str, State]
    tools: dict[str, str]


@dataclass(frozen=True, eq=False)
class Best:
    """The best labels of some recordings.

    Attributes:
        places: of labels, best first, int64 ``[n, k]``.
        scores: theirs, float64 ``[n, k]``.
        cosines: theirs, float32 ``[n, k]``.
        kept: those that pass the bounds, bool ``[n, k]``.
    """

    places: NDArray[np.int64]
    scores: NDArray[np.float64]
    cosines: NDArray[np.float32]
    kept: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Tagged:
    """A stretch of the library with its labels.

    Attributes:
        stretch: of recordings; its table has path and member.
        scores: of all labels, float64 ``[n, labels]``.
        best: labels of each.
    """

    stretch: Stretch
    scores: NDArray[np.float64]
    best: Best


def best(ranking: Ranking, cosines: NDArray[np.float32], scores: NDArray[np.float64]) -> Best:
    """The best labels, as :meth:`Ranking.rank` gives them for one recording.

    Args:
        ranking: of the labels; its ``top_k`` is how many.
        cosines: ``[n, labels]``.
        scores: theirs.
    """
    count = min(ranking.top_k or cosines.shape[1], cosines.shape[1])
    # Scores rise with these, and rounding makes fewer of these equal.
    close = cosines if ranking.head is None else ranking.head.logits(cosines)
    if count <= FEW:
        left = np.array(close)
        places = np.empty((len(close), count), np.int64)
        for i in range(count):
            places[:, i] = left.argmax(axis=1)
            np.put_along_axis(left, places[:, i : i + 1], -np.inf, axis=1)
    else:
        places = np.argsort(-close, axis=1, kind="stable")[:, :count]
    own = np.take_along_axis(scores, places, axis=1)
    similar = np.take_along_axis(cosines, places, axis=1)
    kept = np.ones(places.shape, bool)
    if ranking.threshold is not None:
        kept &= own >= ranking.threshold
    if ranking.min_similarity is not None:
        kept &= similar.astype(np.float64) >= ranking.min_similarity
    return Best(places, own, similar, kept)


def tagged(library: Vectors, bank: LabelBank, ranking: Ranking) -> Iterator[Tagged]:
    """Label all recordings.

    Args:
        library: with their vectors.
        bank: of the same space.
        ranking: of its labels.

    Raises:
        BundleError: the labels are of another space.
        LabelError: they have another number of dimensions.
    """
    bank.check_space(library.description.space_id)
    bank.check_dim(library.description.dim, "library")
    step = max(1, AT_ONCE // len(bank))
    for stretch in library.stretches(("path", "member")):
        for start in range(0, len(stretch.vectors), step):
            some = stretch.only(start, step)
            cosines = some.vectors @ bank.embeddings.T
            scores = ranking.scores(cosines)
            yield Tagged(some, scores, best(ranking, cosines, scores))


@contextmanager
def writing(
    library: Vectors, name: str, bank: LabelBank, ranking: Ranking, *, overwrite: bool
) -> Generator[Table]:
    """Write a table, which gets its place when the block ends without an exception.

    Args:
        library: that it is of, opened before any of its vectors are read.
        name: of the table: 1 to 64 of the characters a-z, 0-9, '.', '_' and '-'.
        bank: the labels.
        ranking: of them.
        overwrite: replace the table that is there.

    Raises:
        LibraryError: the name is none, or the table exists or cannot be written.
    """
    path = path_of(library.folder, name)
    text = json.dumps(schema.to_plain(_said(library, bank, ranking)), ensure_ascii=False)
    form = _schema().with_metadata({METADATA: text.encode()})
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise LibraryError(f"'{path.parent}' cannot be made: {error.strerror}.") from error
    with (
        files.writing(path, overwrite=overwrite, error=LibraryError) as part,
        parquet().ParquetWriter(part, form, compression="zstd") as file,
    ):
        table = Table(file, form, bank)
        yield table
        table.flush()


class Table:
    """See :func:`writing`."""

    def __init__(self, file: Any, form: Any, bank: LabelBank) -> None:
        self._file, self._schema = file, form
        self._names = pyarrow().array(bank.names)
        self._waiting: list[Any] = []

    def add(self, some: Tagged) -> None:
        """Write a stretch."""
        arrow, found = pyarrow(), some.best
        counts = found.kept.sum(axis=1)
        starts = arrow.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
        values = {
            "labels": self._names.take(arrow.array(found.places[found.kept])),
            "scores": arrow.array(found.scores[found.kept].astype(np.float32)),
            "similarities": arrow.array(found.cosines[found.kept]),
        }
        lists = {k: arrow.ListArray.from_arrays(starts, each) for k, each in values.items()}
        # The place of each recording's first label among all that are kept; nothing where none is.
        first = arrow.array(np.cumsum(counts) - counts, mask=counts == 0)
        one = {"label": "labels", "score": "scores", "similarity": "similarities"}
        singles = {name: values[many].take(first) for name, many in one.items()}
        table = some.stretch.table.select(["path", "member"])
        for name, column in {**singles, **lists}.items():
            table = table.append_column(name, column)
        self._waiting.append(table.cast(self._schema))
        if sum(waiting.num_rows for waiting in self._waiting) >= ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what waits, as one group of rows."""
        if self._waiting:
            self._file.write_table(pyarrow().concat_tables(self._waiting))
            self._waiting = []


def path_of(folder: Path, name: str) -> Path:
    """Where a table is.

    Raises:
        LibraryError: the name is none.
    """
    if not NAME.fullmatch(name):
        raise LibraryError(
            f"'{name}' is no name of a table of labels: give 1 to 64 of the characters a-z, 0-9, "
            "'.', '_' and '-', a letter or digit first."
        )
    return folder / TAGS / f"{name}{SUFFIX}"


def names(folder: Path) -> list[str]:
    """Of the tables that a library has, in order."""
    found = (path.name for path in (folder / TAGS).glob(f"*{SUFFIX}"))
    return sorted(n.removesuffix(SUFFIX) for n in found if NAME.fullmatch(n.removesuffix(SUFFIX)))


def read(path: Path) -> Said:
    """What a table says of itself.

    Raises:
        LibraryError: it is damaged, or no such table.
        SchemaError: keys that do not fit.
    """
    arrow = pyarrow()
    try:
        metadata = parquet().read_schema(path).metadata or {}
        text = metadata[METADATA]
    except (OSError, arrow.ArrowException, KeyError) as error:
        raise LibraryError(
            f"'{path}' is damaged, or no table of labels ({str(error) or type(error).__name__}). "
            "Remove it, and make it again: clap-export tag LIB LABELS"
        ) from error
    return schema.read(Said, schema.read_json(text, str(path), LibraryError), str(path))


def is_stale(folder: Path, said: Said) -> bool:
    """Whether the library has changed since a table was made."""
    return _parts(folder) != said.parts


def _said(library: Vectors, bank: LabelBank, ranking: Ranking) -> Said:
    embeddings: Any = np.ascontiguousarray(bank.embeddings, "<f4")
    digest = hashlib.sha256(embeddings.tobytes()).hexdigest()
    return Said(
        FORMAT, FORMAT_VERSION, bank.space_id, bank.names, bank.templates, digest, ranking.mode,
        ranking.threshold, ranking.min_similarity, ranking.top_k or len(bank),
        None if bank.head is None else bank.head.about, _parts(library.folder),
        {"clap-export": __version__, "pyarrow": pyarrow().__version__},
    )  # fmt: skip


def _parts(folder: Path) -> dict[str, State]:
    found: dict[str, State] = {}
    for name in columns.names(folder / RECORDINGS):
        is_now = os.stat(folder / RECORDINGS / name)
        found[name] = State(is_now.st_size, is_now.st_mtime_ns)
    return found


def _schema() -> Any:
    arrow = pyarrow()
    text, number = arrow.string(), arrow.float32()
    return arrow.schema([
        arrow.field("path", text, nullable=False), ("member", text),
        ("label", text), ("score", number), ("similarity", number),
        ("labels", arrow.list_(text)), ("scores", arrow.list_(number)),
        ("similarities", arrow.list_(number)),
    ])  # fmt: skip
