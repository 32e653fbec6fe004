"""Audio files to blocks of mono float32, as far as they can be read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from runtime.audio.content import Content
from runtime.audio.decoding import Choice
from runtime.audio.levels import Levels
from runtime.audio.rates import Resampler
from runtime.audio.structure import find
from runtime.audio.track import Track, Undecodable
from runtime.errors import AudioError

MOST_VAIN = 3  # parts of one file that ffmpeg is asked about in vain: a file may seem to have many


class Decoder:
    """Decodes a file, part after part.

    What it holds is a block at a time, whatever the file states or holds: only ``max_seconds`` and
    the reader's patience bound how much comes.

    Args:
        content: of the file.
        name: of the file, for sentences.
        max_seconds: longer files are refused, those that state it as soon as they are opened.

    Attributes:
        rate: of the first part, in Hz, to which later ones are brought; 0 until its first block.
        warnings: what is wrong with the file although it could be read, as clauses; all of them
            when the blocks are exhausted.

    Raises:
        OSError: the file cannot be read.
    """

    def __init__(self, content: Content, name: str, max_seconds: float) -> None:
        self._content, self._name, self._max_seconds = content, name, max_seconds
        self._levels = Levels(name)
        self._seconds = 0.0  # decoded so far
        self._vain = 0  # parts of which ffmpeg could make nothing
        structure = find(content)
        self._parts = structure.parts
        self.rate = 0
        self.warnings = [structure.warning] if structure.warning else []

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Mono float32 ``[n]``, in order; only what is asked for is decoded.

        Raises:
            AudioError: the file cannot be used, or a library for it is not installed.
        """
        for number, part in enumerate(self._parts, 1):
            before = self._seconds
            track = Choice(self._content, part, self._name, helped=self._vain < MOST_VAIN)
            try:
                yield from self._mixed(track)
            except Undecodable as error:
                if not before and self._seconds == 0 and number == len(self._parts):
                    raise AudioError(
                        f"{self._name} cannot be decoded ({error}): {error.remedy}"
                    ) from error
                self.warnings.append(
                    f"its part {number} of {len(self._parts)} cannot be decoded ({error})"
                )
            self._vain += track.vain
            if track.trouble:
                self.warnings.append(track.trouble)
        self._levels.check()

    def _mixed(self, track: Track) -> Iterator[NDArray[np.float32]]:
        frames, before = 0, self._seconds
        resampler: Resampler | None = None
        for block in track.blocks():
            if resampler is None:
                self.rate = self.rate or track.rate
                stated = (track.stated or 0) / track.rate
                self._check_length(stated, f"{stated:.0f} s, more")
                resampler = Resampler(track.rate, self.rate)
            if not len(block):
                continue
            frames += len(block)
            self._seconds = before + frames / track.rate
            self._check_length(self._seconds, "longer")
            yield resampler.push(self._levels.mono(np.moveaxis(block, 1, 0), track.integers))
        if resampler is not None:
            yield resampler.finish()

    def _check_length(self, seconds: float, found: str) -> None:
        if seconds > self._max_seconds:
            raise AudioError(
                f"{self._name} lasts {found} than the {self._max_seconds:g} s allowed. "
                "Cut it into shorter pieces, or raise `max_seconds`."
            )
