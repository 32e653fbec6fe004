"""Recordings on their way from where they are decoded to where they are embedded."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clap_export.library.item import Item, Opened, opened
from runtime.audio.facts import Facts
from runtime.clips.clip import Clip, Piece
from runtime.clips.fusion import Gathered
from runtime.encoder import Encoder
from runtime.errors import AudioError
from runtime.library.arrow import pyarrow


@dataclass(frozen=True, eq=False)
class Decoded:
    """All windows of a recording; it stands where a :class:`Clip` does.

    Attributes:
        rows: float32 ``[n, samples]``.
        starts: of the windows, in samples.
        ends: of what they hold of the recording, in samples.
        gathered: the only row is what feature fusion needs of a long recording.
        warning: of the recording.
        facts: of the recording.
    """

    rows: NDArray[np.float32]
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    gathered: bool
    warning: str | None
    facts: Facts | None

    @classmethod
    def of(cls, pieces: list[Piece], warning: str | None, facts: Facts | None) -> Decoded:
        """From its pieces."""
        first = pieces[0].rows[0]
        gathered = isinstance(first, Gathered)
        rows = (
            first.samples[np.newaxis]
            if isinstance(first, Gathered)
            else np.concatenate([np.asarray(piece.rows) for piece in pieces])
        )
        starts = tuple(start for piece in pieces for start in piece.starts)
        ends = tuple(end for piece in pieces for end in piece.ends)
        return cls(rows, starts, ends, gathered, warning, facts)

    def pieces(self, size: int) -> Generator[Piece]:
        """The windows in order, at most ``size`` at a time."""
        if self.gathered:
            (total,) = self.ends
            yield Piece([Gathered(self.rows[0], total)], self.starts, self.ends, True)
            return
        for at in range(0, len(self.rows), size):
            to = at + size
            last = to >= len(self.rows)
            yield Piece(self.rows[at:to], self.starts[at:to], self.ends[at:to], last)

    def __enter__(self) -> Decoded:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@dataclass(frozen=True, eq=False)
class Carried:
    """A recording that was looked into. It is called by its path where something is said of it.

    Attributes:
        item: its place, and the size and time of its file.
        sha256: of its bytes, or None.
        decoded: its windows; None where there is nothing to embed, or too much to be sent.
        error: why it cannot be used, or None.
        passed: it is as it was when it was embedded, which its bytes say.
    """

    item: Item
    sha256: str | None
    decoded: Decoded | None = None
    error: str | None = None
    passed: bool = False

    def __fspath__(self) -> str:
        return self.item.path

    def clip(self, encoder: Encoder) -> Clip | Decoded:
        """Its windows, as :func:`runtime.pipeline.embed_many` asks for them.

        Raises:
            AudioError: it was to be decoded here, and cannot be.
        """
        if self.decoded is not None:
            return self.decoded
        found = opened(self.item) if self.item.member is not None else None
        if found is not None and found.error is not None:
            raise AudioError(found.error)
        return encoder.clip(self.item.path if found is None else found.source)

    def changed(self) -> bool:
        """Whether it was decoded after it was looked into, and is another one by now."""
        return self.decoded is None and Opened(self.item, "", None).changed()


def schema() -> Any:
    """Arrow schema of what is carried."""
    arrow = pyarrow()
    text, whole, many = arrow.string(), arrow.int64(), arrow.list_(arrow.int64())
    return arrow.schema(
        [
            ("path", text), ("member", text), ("size", whole), ("mtime_ns", whole),
            ("offset", whole), ("sha256", text), ("error", text), ("passed", arrow.bool_()),
            ("warning", text), ("rate", whole), ("channels", whole),
            ("seconds", arrow.float64()), ("gathered", arrow.bool_()), ("starts", many),
            ("ends", many), ("samples", whole), ("rows", arrow.large_binary()),
        ]
    )  # fmt: skip


def table(every: Iterable[Carried]) -> Any:
    """As an Arrow table."""
    return pyarrow().Table.from_pylist([_plain(each) for each in every], schema=schema())


def _plain(each: Carried) -> dict[str, Any]:
    item, decoded = each.item, each.decoded
    plain: dict[str, Any] = {
        **place(item), "sha256": each.sha256, "error": each.error, "passed": each.passed,
    }  # fmt: skip
    if decoded is not None:
        facts = decoded.facts
        plain |= {
            "warning": decoded.warning, "gathered": decoded.gathered, "starts": decoded.starts,
            "ends": decoded.ends, "samples": decoded.rows.shape[1],
            "rows": decoded.rows.tobytes(),
        }  # fmt: skip
        if facts is not None:
            plain |= {"rate": facts.rate, "channels": facts.channels, "seconds": facts.seconds}
    return plain


def read(table: Any) -> Iterator[Carried]:
    """From an Arrow table; the samples stay where they lie in it."""
    others = table.drop_columns(["rows"]).to_pylist()
    windows = (data for chunk in table.column("rows").chunks for data in chunk)
    for plain, data in zip(others, windows, strict=True):
        decoded = _decoded(plain, data.as_buffer()) if data.is_valid else None
        item = placed(plain)
        yield Carried(item, plain["sha256"], decoded, plain["error"], plain["passed"])


def _decoded(plain: dict[str, Any], data: Any) -> Decoded:
    rows = np.frombuffer(data, np.float32).reshape(-1, plain["samples"])
    facts = None
    if plain["rate"] is not None:
        facts = Facts(plain["rate"], plain["channels"], plain["seconds"])
    return Decoded(
        rows, tuple(plain["starts"]), tuple(plain["ends"]), plain["gathered"], plain["warning"],
        facts,
    )  # fmt: skip


def place(item: Item) -> dict[str, Any]:
    """An item as columns."""
    return {
        "path": item.path, "member": item.member, "size": item.size, "mtime_ns": item.mtime_ns,
        "offset": item.offset,
    }  # fmt: skip


def placed(plain: dict[str, Any]) -> Item:
    """An item of its columns."""
    return Item(*(plain[name] for name in ("path", "member", "size", "mtime_ns", "offset")))
