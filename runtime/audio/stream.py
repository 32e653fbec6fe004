"""A recording of any kind and length as blocks of samples, at a fixed memory."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from runtime.audio import faithful, sources
from runtime.audio.arrays import ArrayBlocks, Chunks, Recording
from runtime.audio.decoder import Decoder
from runtime.audio.facts import Facts
from runtime.audio.faithful import Channels, Kind, Resampling
from runtime.audio.faithful.strung import LaterChannels
from runtime.audio.limit import Limit, TooLong, check_max_seconds
from runtime.audio.rates import check_not_lost, check_rate
from runtime.errors import AudioError, without_frames

if TYPE_CHECKING:
    from runtime.audio.arrays import Source
    from runtime.audio.stretch import Stretches

# Samples of a block that came at once are handed on in pieces of this size.
LARGEST = 1 << 18


class Blocks(Protocol):
    """What makes mono float32 blocks ``[n]`` of a source; ``rate``, ``channels`` and the ``stated``
    seconds are known with the first."""

    rate: int
    channels: int
    stated: float | None
    warnings: list[str]

    def blocks(self) -> Generator[NDArray[np.float32]]:
        """Mono float32 ``[n]``, in order."""
        ...


class Stream:
    """Opens a recording, and gives its samples in order, once.

    They are those of the whole recording read at once, however they come.

    Args:
        source: see :func:`runtime.audio.read`.
        sample_rate: of an array, in Hz.
        rate: to bring it to, in Hz; default its own.
        max_seconds: longer recordings are refused; infinity for no limit.
        keep_from: seconds. A recording that breaks off later than this (a sample that is not
            finite, a device that is gone) is used as far as it went, with a warning; else it is
            refused, as is an array, of which all is known at once. Infinity refuses all of them.
        resampler: ``soxr``, or the one of an original; see :mod:`runtime.audio.faithful`.
        channels: ``mean``, or ``strung`` one after the other, each resampled alone.

    Attributes:
        rate: of the blocks, in Hz; without ``rate``, known with the first block.
        samples: given out so far.

    Raises:
        AudioError: it cannot be opened.
        ClapError: ``max_seconds`` is no positive number.
    """

    def __init__(
        self,
        source: Source,
        sample_rate: int | None = None,
        *,
        rate: int | None = None,
        max_seconds: float = math.inf,
        keep_from: float = math.inf,
        resampler: Kind = "soxr",
        channels: Channels = "mean",
    ) -> None:
        self._source, self._sample_rate = source, sample_rate
        self._keep_from = math.inf if isinstance(source, np.ndarray) else keep_from
        self.rate, self.samples = rate or 0, 0
        self._count, self._seconds = 0, 0.0  # of one channel, as decoded
        self._broken: AudioError | None = None
        self._ended = False
        self._held = ExitStack()
        self._kind: Kind = resampler
        self._later: LaterChannels | None = None
        check_max_seconds(max_seconds)
        with boundary(source):
            self._name = called(source)
            if channels == "strung":
                self._later = self._held.enter_context(closing(LaterChannels(self._name)))
            self._origin = self._opened(max_seconds)

    @property
    def warning(self) -> str | None:
        """A sentence that says what is wrong with a recording of which only a part can be used;
        known when all blocks are out."""
        if isinstance(self._source, Recording):
            return self._source.warning
        clauses = list(self._origin.warnings)
        if self._broken is not None:
            clauses.append(f"it breaks off ({str(self._broken).rstrip('.')})")
        if not clauses:
            return None
        return (
            f"{self._name} may not be whole: {'; '.join(clauses)}. {self._seconds:.1f} s of it are "
            "used."
        )

    def blocks(self) -> Generator[NDArray[np.float32]]:
        """Mono float32 ``[n]``; only what is asked for is decoded.

        Raises:
            AudioError: the recording cannot be used.
        """
        yield from self._resampled(self._decoded())
        for channel in self._later or ():
            yield from self._resampled(channel)
        if not self.samples:
            check_not_lost(np.empty(0, np.float32), self._count, self._origin.rate, self.rate)

    @property
    def facts(self) -> Facts:
        """The recording as it came, as far as the blocks that are out tell."""
        heard = self._seconds if self._ended else self._origin.stated
        return Facts(self._origin.rate, self._origin.channels, heard)

    def stretches(self) -> Stretches | None:
        """The recording as stretches that can be had alone, in place of its blocks; None where it
        must be decoded from its beginning.

        Raises:
            AudioError: it is longer than allowed, or cannot be read.
        """
        if not isinstance(self._origin, Decoder) or self._sample_rate is not None or not self.rate:
            return None
        with boundary(self._source):
            return self._origin.stretches(self.rate)

    def close(self) -> None:
        """Let go of the source."""
        self._held.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self, max_seconds: float) -> Blocks:
        source: Any = self._source
        if isinstance(source, Recording):
            return ArrayBlocks(
                source.samples, source.rate, Limit("the recording", max_seconds), self._later
            )
        if isinstance(source, (np.ndarray, Chunks)):
            name = "the stream" if isinstance(source, Chunks) else f"the {self._name}"
            array = cast("NDArray[Any] | Chunks", source)
            return ArrayBlocks(array, self._sample_rate, Limit(name, max_seconds), self._later)
        content = self._held.enter_context(sources.opened(source))
        return Decoder(content, self._name, max_seconds, self._later)

    def _decoded(self) -> Iterator[NDArray[np.float32]]:
        blocks = self._origin.blocks()
        self._held.callback(blocks.close)  # ends a program that decodes
        try:
            while True:
                with boundary(self._source):
                    block = next(blocks, None)
                if block is None:
                    self._ended = True
                    return
                if len(block):
                    self._count += len(block)
                    self._seconds = self._count / self._origin.rate
                    yield block
        except TooLong:
            raise
        except AudioError as error:
            if self._seconds < self._keep_from:
                raise
            self._broken, self._ended = without_frames(error), True

    def _resampled(self, blocks: Iterator[NDArray[np.float32]]) -> Generator[NDArray[np.float32]]:
        resampler: Resampling | None = None
        for block in blocks:
            resampler = resampler or self._resampler()
            for at in range(0, len(block), LARGEST):
                yield from self._given(resampler.push(block[at : at + LARGEST]))
        if resampler is not None:
            yield from self._given(resampler.finish())

    def _resampler(self) -> Resampling:
        own = self._origin.rate
        if self._sample_rate is not None and check_rate(self._sample_rate) != own:
            raise AudioError(
                f"{self._name} has a sample rate of {own} Hz, but sample_rate={self._sample_rate} "
                "was given. Leave sample_rate out: it is for arrays; files state their own."
            )
        self.rate = self.rate or own
        return faithful.resampler(self._kind, own, self.rate)

    def _given(self, block: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        if len(block):
            self.samples += len(block)
            yield block


@contextmanager
def boundary(source: object) -> Generator[None]:
    """Turn whatever a recording causes into an AudioError that names the type.

    Raises:
        AudioError: instead of any exception but KeyboardInterrupt and SystemExit.
    """
    try:
        yield
    except (AudioError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a file object may raise anything, GeneratorExit too
        try:
            reason = f"{type(error).__name__}: {error}"[:300]
        except Exception:
            reason = type(error).__name__
        raise AudioError(f"{called(source)} cannot be read ({reason}).") from error


def called(source: object) -> str:
    """What a source is called, whatever it is."""
    try:
        return sources.name(source)
    except Exception:
        return f"the recording in {type(source).__name__}"
