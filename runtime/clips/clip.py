"""A recording as the windows that a policy takes of it, at a fixed memory."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from runtime.audio import Stream, round_trip_int16, sources, spool, warn
from runtime.clips import fusion
from runtime.clips.cutter import Cut, Cutter
from runtime.clips.fusion import Gathered, Gatherer
from runtime.clips.handover import ahead
from runtime.errors import AudioError

if TYPE_CHECKING:
    from runtime.audio import Source
    from runtime.audio.facts import Facts
    from runtime.audio.stretch import Stretches
    from runtime.audio_spec import AudioSpec
    from runtime.clips.policy import Policy

# Samples that are held while a recording's length is being found; of a longer one they are decoded
# again or, where that cannot be, kept on the disk.
HELD = 1 << 23


@dataclass(frozen=True, eq=False)
class Piece:
    """Windows of one recording that follow each other.

    Attributes:
        rows: float32 ``[n, window_samples]``; or one clip for feature fusion.
        starts: of the windows in samples.
        ends: of what they hold of the recording, in samples.
        last: no other piece follows.
    """

    rows: NDArray[np.float32] | list[Gathered]
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    last: bool

    def __len__(self) -> int:
        return len(self.rows)


def unchecked() -> None:
    """Decoding goes on; see :class:`Clip`."""


class Clip:
    """Opens a recording.

    Args:
        source: see :func:`runtime.audio.read`.
        sample_rate: of an array, in Hz.
        spec: of the bundle.
        policy: which windows are wanted.
        max_seconds: longer recordings are refused; infinity for no limit.
        check: called for every block that is decoded; what it raises ends the work.

    Attributes:
        warning: a sentence that says what is wrong with a recording of which only a part can be
            used, or None; known when all pieces are out.
        facts: the recording as it came, or None; known when all pieces are out.

    Raises:
        AudioError: it cannot be opened.
    """

    def __init__(
        self,
        source: Source,
        sample_rate: int | None,
        spec: AudioSpec,
        policy: Policy,
        max_seconds: float,
        check: Callable[[], None] = unchecked,
    ) -> None:
        self._check = check
        self._source, self._sample_rate, self._max_seconds = source, sample_rate, max_seconds
        self._spec, self._policy = spec, policy
        self._held = ExitStack()
        self.warning: str | None = None
        self.facts: Facts | None = None
        self._stream = self._opened()

    def pieces(self, size: int) -> Generator[Piece]:
        """All windows in order, at most ``size`` at a time.

        Raises:
            AudioError: the recording cannot be used.
        """
        waiting: list[Cut | Gathered] = []
        for cut in self._cuts():
            if len(waiting) == size:
                yield _piece(waiting, last=False)
                waiting = []
            waiting.append(cut)
        if not waiting:
            raise AudioError(f"{sources.name(self._source)} was shorter when it was read again.")
        self.warning = self._stream.warning
        self.facts = self.facts or self._stream.facts
        yield _piece(waiting, last=True)

    def pieces_ahead(self, size: int) -> Generator[Piece]:
        """:meth:`pieces`; those of a long recording are decoded in a thread while the ones before
        them are used. A warning is issued at the end."""
        pieces = self.pieces(size)
        first = next(pieces)
        yield first
        if not first.last:
            yield from ahead(pieces, 1)
        warn(self.warning)

    def close(self) -> None:
        """Let go of the source."""
        self._held.close()

    def __enter__(self) -> Clip:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self) -> Stream:
        spec, quirks = self._spec, self._policy.quirks
        return self._held.enter_context(
            Stream(
                self._source, self._sample_rate, rate=spec.sample_rate,
                max_seconds=self._max_seconds, keep_from=spec.window_samples / spec.sample_rate,
                resampler=quirks.resampler, channels=quirks.channels,
            )
        )  # fmt: skip

    def _blocks(self) -> Iterator[NDArray[np.float32]]:
        return map(self._heard, self._stream.blocks())

    def _heard(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        self._check()
        return round_trip_int16(samples) if self._spec.int16_round_trip else samples

    def _stretches(self) -> Stretches | None:
        """The file, where only a few windows of it are wanted and it can be sought in."""
        policy = self._policy
        few = policy.windows in ("spaced", "past_intro", "middle")
        ours = policy.quirks.resampler == "soxr" and policy.quirks.channels == "mean"
        return self._stream.stretches() if few and ours else None

    def _cuts(self) -> Iterator[Cut | Gathered]:
        spec, policy = self._spec, self._policy
        stretches = self._stretches()
        if stretches is not None and stretches.total > spec.window_samples:
            self.facts = stretches.facts
            for start in policy.starts(spec, stretches.total):
                end = start + spec.window_samples
                yield Cut(start, end, self._heard(stretches.samples(start, end)))
            return
        total, blocks = None, self._blocks()
        if policy.needs_total:
            total, blocks = self._counted(blocks)
        if policy.windows == "fusion" and total is not None and total > spec.window_samples:
            yield from _fused(spec, total, blocks)
            return
        cutter = Cutter(spec, policy.starts(spec, total), policy.tail)
        for block in blocks:
            yield from cutter.push(block)
            if cutter.done:
                return
        yield from cutter.finish()

    def _counted(
        self, blocks: Iterator[NDArray[np.float32]]
    ) -> tuple[int, Iterator[NDArray[np.float32]]]:
        """How many samples there are, and the samples again."""
        held: list[NDArray[np.float32]] = []
        total = 0
        for block in blocks:
            held.append(block)
            total += len(block)
            if total > HELD:
                break
        else:
            return total, iter(held)
        if sources.repeatable(self._source):
            held.clear()
            total += sum(map(len, blocks))
            self.facts = self._stream.facts  # of the second reading the end may be left out
            self._stream.close()
            self._stream = self._opened()
            return total, self._blocks()
        name = sources.name(self._source)
        data = (block.tobytes() for block in itertools.chain(held, blocks))
        disk = self._held.enter_context(spool.copy(data, name))
        held.clear()
        total = os.fstat(disk.fileno()).st_size // np.dtype(np.float32).itemsize
        return total, _read(disk)


def _fused(
    spec: AudioSpec, total: int, blocks: Iterable[NDArray[np.float32]]
) -> Iterator[Cut | Gathered]:
    if total <= fusion.gathered_samples(spec):
        yield Cut(0, total, np.concatenate(list(blocks)))
        return
    gatherer = Gatherer(spec, total)
    for block in blocks:
        gatherer.push(block)
    yield gatherer.finish()


def _piece(cuts: Sequence[Cut | Gathered], last: bool) -> Piece:
    if isinstance(cuts[0], Gathered):
        return Piece([cuts[0]], (0,), (cuts[0].total,), last)
    windows = cast("Sequence[Cut]", cuts)
    return Piece(
        np.stack([cut.row for cut in windows]),
        tuple(cut.start for cut in windows), tuple(cut.end for cut in windows), last,
    )  # fmt: skip


def _read(disk: BinaryIO) -> Iterator[NDArray[np.float32]]:
    while data := disk.read(1 << 20):
        yield np.frombuffer(data, np.float32)
