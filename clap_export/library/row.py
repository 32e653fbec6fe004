"""What is known of one recording when it has been embedded, or could not be."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from clap_export.library.item import LATEST, Item, Key
from runtime import schema
from runtime.audio.facts import Facts
from runtime.library.part import NORM_TOLERANCE
from runtime.schema import Within

Whole = Annotated[int, Within(-LATEST - 1, LATEST)]
Count = Annotated[int, Within(0, (1 << 31) - 1)]


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of a recording.

    Attributes:
        starts: in seconds, float64 ``[n]``.
        ends: in seconds, float64 ``[n]``.
        vectors: float32 ``[n, dim]`` of unit norm.
    """

    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    vectors: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Row:
    """A recording in a library.

    Attributes:
        item: its place, and the size and time of its file.
        sha256: of its bytes; None if they could not be read.
        facts: the recording as it came, or None.
        count: of windows that were pooled.
        embedding: float32 ``[dim]`` of unit norm; None where there is an error.
        windows: vectors of their own, or None.
        warning: why only a part of it was used, or None.
        error: why it could not be used, or None.
    """

    item: Item
    sha256: str | None
    facts: Facts | None = None
    count: int = 0
    embedding: NDArray[np.float32] | None = None
    windows: Windows | None = None
    warning: str | None = None
    error: str | None = None

    @property
    def key(self) -> Key:
        """What the recording is known by."""
        return self.item.key

    def cells(self) -> dict[str, Any]:
        """All columns but the vectors, by their names in a part."""
        path, member = self.key
        facts = self.facts or Facts(0, 0, None)
        return {
            "path": path, "member": member,
            "size": self.item.size, "mtime_ns": self.item.mtime_ns, "sha256": self.sha256,
            "duration": facts.seconds, "rate": facts.rate or None,
            "channels": facts.channels or None, "windows": self.count or None,
            "vanished": False, "warning": self.warning, "error": self.error,
        }  # fmt: skip

    def plain(self) -> dict[str, Any]:
        """For the journal."""
        plain = self.cells()
        if self.embedding is not None:
            plain["embedding"] = _packed(self.embedding)
        if self.windows is not None:
            plain["starts"] = self.windows.starts.tolist()
            plain["ends"] = self.windows.ends.tolist()
            plain["vectors"] = _packed(self.windows.vectors)
        return plain

    @classmethod
    def of(cls, plain: dict[str, Any], dim: int) -> Row:
        """From the journal.

        Raises:
            ValueError, SchemaError: it is none of ours.
        """
        line = schema.read(_Line, plain, "the line")
        embedding = windows = None
        if (line.embedding is None) == (line.error is None):
            raise ValueError("a row has a vector or an error")
        if line.embedding is not None:
            (embedding,) = _unpacked(line.embedding, dim)
            if abs(float(np.linalg.norm(embedding)) - 1) > NORM_TOLERANCE["float32"]:
                raise ValueError("the vector is not of unit norm")
        if line.vectors is not None:
            starts, ends = (np.array(each, np.float64) for each in (line.starts, line.ends))
            windows = Windows(starts, ends, _unpacked(line.vectors, dim))
            if not len(starts) == len(ends) == len(windows.vectors):
                raise ValueError("windows have a start, an end and a vector each")
        return cls.of_cells(plain, embedding, windows)

    @classmethod
    def of_cells(
        cls, cells: dict[str, Any], embedding: NDArray[np.float32] | None, windows: Windows | None
    ) -> Row:
        """From what :meth:`cells` gives, and the vectors.

        Raises:
            KeyError: a column is missing.
        """
        item = Item(cells["path"], cells["member"], cells["size"], cells["mtime_ns"])
        facts = Facts(cells["rate"] or 0, cells["channels"] or 0, cells["duration"])
        return cls(
            item, cells["sha256"], facts, cells["windows"] or 0, embedding, windows,
            cells["warning"], cells["error"],
        )  # fmt: skip


@dataclass(frozen=True)
class _Line:
    """What :meth:`Row.plain` gives, as its columns take it."""

    path: str
    member: str | None
    size: Whole | None
    mtime_ns: Whole | None
    sha256: str | None
    duration: float | None
    rate: Count | None
    channels: Count | None
    windows: Count | None
    vanished: bool
    warning: str | None
    error: str | None
    embedding: str | None = None
    starts: tuple[float, ...] = ()
    ends: tuple[float, ...] = ()
    vectors: str | None = None


def _packed(vectors: NDArray[np.float32]) -> str:
    return base64.b64encode(vectors.astype("<f4").tobytes()).decode()


def _unpacked(text: str, dim: int) -> NDArray[np.float32]:
    found = np.frombuffer(base64.b64decode(text, validate=True), "<f4").reshape(-1, dim)
    if not np.isfinite(found).all():
        raise ValueError("the vectors are not finite")
    return found
