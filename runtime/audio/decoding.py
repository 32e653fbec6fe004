"""Who decodes a part of a file: libsndfile, and the ffmpeg program for what that cannot.

Samples are given out as they are decoded, so libsndfile may stop in the middle when much of the
part is with the reader already. Then ffmpeg decodes the part from its beginning, what it gives is
compared with the last samples that were given out, and it goes on behind them; or not, where the
two do not meet.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from contextlib import closing, suppress

import numpy as np
from numpy.typing import NDArray

from runtime.audio import sndfile, track
from runtime.audio.content import Content
from runtime.audio.parts import Part
from runtime.audio.seam import Seam
from runtime.errors import AudioError

SHORTEST = 64  # bytes of a file with sound
TEXT = frozenset(b"\t\n\r" + bytes(range(0x20, 0x7F)))


class Choice:
    """See :class:`runtime.audio.track.Track`.

    Args:
        content: of the file.
        part: of it.
        name: of the file, for sentences.
        helped: ffmpeg may be asked.

    Attributes:
        vain: ffmpeg was asked, and gave nothing.
    """

    def __init__(self, content: Content, part: Part, name: str, helped: bool = True) -> None:
        self._given, self._helped, self.vain = (content, part, name), helped, False
        self.rate = self._frames = 0
        self.stated: int | None = None
        self.integers = False
        self.trouble: str | None = None

    def blocks(self) -> Generator[NDArray[np.float32]]:
        """float32 ``[frames, channels]``, in order; only what is asked for is decoded.

        Raises:
            Undecodable: neither can make anything of it.
            AudioError: a rate or a number of channels that are not taken; or see
                :mod:`runtime.audio.sndfile`.
            OSError: the file cannot be read.
        """
        first, seam = sndfile.Track(*self._given), Seam()
        try:
            with closing(first.blocks()) as blocks:
                for block in blocks:
                    seam.add(block)
                    yield self._noted(first, block)
        except track.Undecodable as error:
            refused = str(error), error.remedy
        else:
            self.trouble, refused = first.trouble, None
        if refused is not None:
            yield from self._instead(refused)
        elif self.trouble or self._shortfall():
            yield from self._behind(seam)
        self.trouble = "; ".join(filter(None, (self.trouble, self._shortfall()))) or None

    def _instead(self, refused: tuple[str, str]) -> Iterator[NDArray[np.float32]]:
        """What ffmpeg gives of a part that libsndfile refused, by reason and remedy."""
        if not self._helped or _no_sound(self._given[0], self._given[1]):
            raise track.Undecodable(*refused)
        from runtime.audio import ffmpeg, ffmpeg_track  # seldom needed, and they bring many others

        second = ffmpeg_track.Track(*self._given)
        try:
            with closing(second.blocks()) as blocks:
                for block in blocks:
                    yield self._noted(second, block)
        except track.Undecodable as error:
            self.vain = True
            if ffmpeg.program() is None:
                raise track.Undecodable(refused[0], ffmpeg.MISSING) from error
            raise track.Undecodable(f"libsndfile: {refused[0]}; {error}") from error
        self.trouble = second.trouble

    def _behind(self, seam: Seam) -> Iterator[NDArray[np.float32]]:
        """What ffmpeg gives behind the place where libsndfile stopped."""
        if not self._helped:
            return
        from runtime.audio import ffmpeg, ffmpeg_track

        second, before = ffmpeg_track.Track(*self._given), self._frames
        # Decoders differ by less at the end of a file that was cut: that is no sound of it.
        least = int(track.MISSING_SECONDS * self.rate)
        # What libsndfile gave is used, whatever is wrong with the rest.
        with suppress(track.Undecodable, AudioError), closing(second.blocks()) as blocks:
            for block in seam.behind(_at(self.rate, second, blocks), least):
                self._frames += len(block)
                self.integers = False
                yield block
        self.vain = self._frames == before
        if not self.vain:
            self.trouble = second.trouble
        elif self.trouble and ffmpeg.program() is None:
            self.trouble += "; the ffmpeg program, which is not installed, may give more of it"

    def _shortfall(self) -> str | None:
        return track.shortfall(self._frames, self.stated, self.rate) if self.rate else None

    def _noted(self, source: track.Track, block: NDArray[np.float32]) -> NDArray[np.float32]:
        self.rate, self.stated, self.integers = source.rate, source.stated, source.integers
        self._frames += len(block)
        return block


def _no_sound(content: Content, part: Part) -> bool:
    """Whether this is too short for a format that ffmpeg knows, or text: to start a program for it
    takes longer than all else."""
    begin = part.head + content.at(part.start, 256)
    return len(begin) < SHORTEST or all(byte in TEXT for byte in begin)


def _at(
    rate: int, source: track.Track, blocks: Iterator[NDArray[np.float32]]
) -> Iterator[NDArray[np.float32]]:
    """Blocks of a rate; none of a source of another."""
    return itertools.takewhile(lambda _: source.rate == rate, blocks)
