"""Stretches of a file without what is before them, of formats in which decoding may begin anywhere.

Of others (MP3, Ogg, whatever goes through ffmpeg) a decoder that begins in the middle gives other
samples than one that comes from the beginning, and the length is certain only at the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.audio import flac, sndfile
from runtime.audio.content import Content
from runtime.audio.facts import Facts
from runtime.audio.levels import MAX_CHANNELS, Levels
from runtime.audio.parts import Structure
from runtime.audio.rates import MAX_RATE, MIN_RATE, resample
from runtime.errors import AudioError

FORMATS = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC"})
# One sample after the other; in FLAC, blocks that decode by themselves.
SUBTYPES = frozenset(
    {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"}
)
# Samples on both sides of a stretch, times the decimation: soxr's filter then has all it reaches.
GUARD = 512


@dataclass(frozen=True)
class Stretches:
    """A file of which any stretch can be had.

    Attributes:
        content: of the file.
        name: of it, for sentences.
        frames: that it has: it was looked whether they are there.
        own_rate: of the file, in Hz.
        channels: of the file.
        rate: of the samples that are given, in Hz.
    """

    content: Content
    name: str
    frames: int
    own_rate: int
    channels: int
    rate: int

    @property
    def facts(self) -> Facts:
        """The file as it is."""
        return Facts(self.own_rate, self.channels, self.frames / self.own_rate)

    @property
    def total(self) -> int:
        """Samples of the whole recording at ``rate``."""
        return (2 * self.frames * self.rate + self.own_rate) // (2 * self.own_rate)

    def samples(self, start: int, stop: int) -> NDArray[np.float32]:
        """Mono float32 ``[stop - start]``: those of the whole recording, decoding little more.

        They are the same bit for bit where the rates are equal, else to 1e-6.

        Args:
            start: first sample, at ``rate``.
            stop: one past the last, at most ``total``.

        Raises:
            AudioError: the file cannot be decoded there.
            OSError: the file cannot be read.
        """
        common = math.gcd(self.own_rate, self.rate)
        up, down = self.rate // common, self.own_rate // common
        guard = 0 if up == down else GUARD * -(-self.own_rate // self.rate)
        # At a multiple of the rates' ratio the resampler has the same phase as over the whole.
        first = max(0, start // up * down - -(-guard // down) * down)
        last = min(self.frames, -(-stop // up) * down + guard)
        levels = Levels(self.name)
        mono = levels.mono(np.moveaxis(self._frames(first, last), 1, 0))
        levels.check()
        begin = start - first // down * up
        return resample(mono, self.own_rate, self.rate)[begin : begin + stop - start]

    def _frames(self, first: int, last: int) -> NDArray[np.float32]:
        try:
            with sndfile.opened(self.content) as file:
                file.seek(first)
                # As the blocks of the whole file are made, for the same values.
                kind = "int16" if file.subtype == "PCM_16" else "float32"
                data = file.read(last - first, dtype=kind, always_2d=True)
        except RuntimeError as error:  # libsndfile's
            raise AudioError(f"{self.name} cannot be decoded at {first} ({error}).") from error
        if len(data) < last - first:
            raise AudioError(f"{self.name} is damaged: it ends before its frame {last}.")
        return sndfile.floats(data)


def of(content: Content, structure: Structure, name: str, rate: int) -> Stretches | None:
    """Stretches of a file; None where it must be decoded from its beginning.

    Args:
        content: of the file.
        structure: of it.
        name: of it, for sentences.
        rate: to bring it to, in Hz.

    Raises:
        OSError: the file cannot be read.
    """
    part = structure.parts[0]
    if len(structure.parts) > 1 or structure.warning or part.start > len(part.head):
        return None
    try:
        with sndfile.opened(content) as file:
            frames, own = int(file.frames), int(file.samplerate)
            channels = int(file.channels)
            if file.format not in FORMATS or file.subtype not in SUBTYPES:
                return None
            if file.format == "FLAC" and flac.end(content) != frames:
                return None
            if not (MIN_RATE <= own <= MAX_RATE and channels <= MAX_CHANNELS and frames):
                return None
            file.seek(frames - 1)
            there = len(file.read(2, dtype="float32", always_2d=True)) == 1
    except (RuntimeError, TypeError):  # libsndfile's; and a file without a header
        return None
    return Stretches(content, name, frames, own, channels, rate) if there else None
