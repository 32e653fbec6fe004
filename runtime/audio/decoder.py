"""Audio files to blocks of mono float32, as far as they can be read."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtime.audio import stretch
from runtime.audio.content import Content
from runtime.audio.decoding import Choice
from runtime.audio.levels import Levels
from runtime.audio.limit import Limit
from runtime.audio.rates import Resampler
from runtime.audio.stretch import Stretches
from runtime.audio.structure import find
from runtime.audio.track import Track, Undecodable
from runtime.errors import AudioError

if TYPE_CHECKING:
    from runtime.audio.faithful.strung import LaterChannels

MOST_VAIN = 3  # parts of one file that ffmpeg is asked about in vain: a file may seem to have many


class Decoder:
    """Decodes a file, part after part.

    What it holds is a block at a time, whatever the file states or holds: only ``max_seconds`` and
    the reader's patience bound how much comes.

    Args:
        content: of the file.
        name: of the file, for sentences.
        max_seconds: longer files are refused, those that state it as soon as they are opened.
        later: where all channels but the first go; default into the mean.

    Attributes:
        rate: of the first part, in Hz, to which later ones are brought; 0 until its first block.
        channels: of the first part; 0 until its first block.
        stated: seconds that a file of one part should have, by its header, or None.
        warnings: what is wrong with the file although it could be read, as clauses; all of them
            when the blocks are exhausted.

    Raises:
        OSError: the file cannot be read.
    """

    def __init__(
        self, content: Content, name: str, max_seconds: float, later: LaterChannels | None = None
    ) -> None:
        self._content, self._name = content, name
        self._limit = Limit(name, max_seconds)
        self._levels, self._one_rate = Levels(name, later), later is not None
        self._seconds = 0.0  # decoded so far
        self._vain = 0  # parts of which ffmpeg could make nothing
        self._structure = find(content)
        self.rate = self.channels = 0
        self.stated: float | None = None
        self.warnings = [self._structure.warning] if self._structure.warning else []

    def blocks(self) -> Generator[NDArray[np.float32]]:
        """Mono float32 ``[n]``, in order; only what is asked for is decoded.

        Raises:
            AudioError: the file cannot be used, or a library for it is not installed.
        """
        for number, part in enumerate(self._structure.parts, 1):
            before = self._seconds
            track = Choice(self._content, part, self._name, helped=self._vain < MOST_VAIN)
            try:
                yield from self._mixed(track)
            except Undecodable as error:
                if not before and self._seconds == 0 and number == len(self._structure.parts):
                    raise AudioError(
                        f"{self._name} cannot be decoded ({error}): {error.remedy}"
                    ) from error
                self.warnings.append(
                    f"its part {number} of {len(self._structure.parts)} cannot be decoded ({error})"
                )
            self._vain += track.vain
            if track.trouble:
                self.warnings.append(track.trouble)
        self._levels.check()

    def stretches(self, rate: int) -> Stretches | None:
        """The file as stretches that can be had alone; see :func:`runtime.audio.stretch.of`.

        Raises:
            AudioError: it is longer than allowed.
            OSError: the file cannot be read.
        """
        found = stretch.of(self._content, self._structure, self._name, rate)
        if found is not None:
            self._limit.check(found.frames, found.own_rate)
        return found

    def _mixed(self, track: Track) -> Iterator[NDArray[np.float32]]:
        frames, before = 0, self._seconds
        resampler: Resampler | None = None
        for block in track.blocks():
            if resampler is None:
                self.rate = self.rate or track.rate
                self._check_rate(track.rate)
                self._limit.check(track.stated or 0, track.rate)
                resampler = Resampler(track.rate, self.rate)
                self.channels = self.channels or block.shape[1]
                if track.stated is not None and len(self._structure.parts) == 1:
                    self.stated = track.stated / track.rate
            if not len(block):
                continue
            frames += len(block)
            self._seconds = before + frames / track.rate
            self._limit.check(self._seconds * track.rate, track.rate, so_far=True)
            yield resampler.push(self._levels.mono(np.moveaxis(block, 1, 0), track.integers))
        if resampler is not None:
            yield resampler.finish()

    def _check_rate(self, rate: int) -> None:
        if self._one_rate and rate != self.rate:
            raise AudioError(
                f"{self._name} changes its sample rate: its channels cannot be heard one after the "
                "other. Choose other windows than the originals'."
            )
