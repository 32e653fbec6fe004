"""One recording on disk, a file or a member of a tar shard: its length, all of it, or a part."""

from __future__ import annotations

import io
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from runtime import audio
from runtime.audio import structure
from runtime.audio.content import Content
from runtime.audio_spec import AudioSpec
from runtime.errors import AudioError

# Kept as int16 to halve the memory: 100 hours at 24 kHz are 17 GB. 16-bit files keep their values.
FULL_SCALE = 32768.0
# Samples read on both sides of a part before it is resampled, times the decimation. Soxr's filter
# then has all it reaches: with 256 a part differed from the whole by 0.001 of an int16 step (that
# is float rounding), with 64 by up to 3 steps (five pairs of rates measured).
GUARD = 512
# What libsndfile and its wrapper raise at files that cannot be read: a path with a NUL, a format
# without seeking, one that needs to be told its rate.
UNREADABLE = (soundfile.SoundFileError, OSError, ValueError, TypeError)
# A search for what was joined to these reads the whole file; what is cut is found when decoded.
SEARCHED = ("FLAC",)


@dataclass(frozen=True)
class Recording:
    """Where a recording lies.

    Attributes:
        path: an audio file, or a tar file.
        member: offset and size in bytes of the audio file inside an uncompressed tar file.
    """

    path: Path
    member: tuple[int, int] | None = None

    def source(self) -> Path | bytes:
        """What :func:`runtime.audio.load` takes.

        Raises:
            AudioError: the shard cannot be read.
        """
        if self.member is None:
            return self.path
        offset, size = self.member
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                return file.read(size)
        except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
            reason = getattr(error, "strerror", None) or error
            raise AudioError(f"'{self.path}' cannot be read ({reason}).") from error

    def whole(self, spec: AudioSpec) -> np.ndarray:
        """Mixed down and resampled by the runtime's own code: int16 ``[n]`` at the spec's rate.

        Raises:
            AudioError: see :func:`runtime.audio.load`.
        """
        samples, warning = self.heard(spec)
        audio.warn(warning)
        return samples

    def heard(self, spec: AudioSpec) -> tuple[np.ndarray, str | None]:
        """:meth:`whole`, and what is wrong with the file although it could be read.

        Raises:
            AudioError: see :func:`runtime.audio.load`.
        """
        found = audio.prepared(self.source(), spec)
        return to_int16(found.samples), found.warning

    def count(self, spec: AudioSpec) -> tuple[int, str | None]:
        """Samples of :meth:`whole`, found by decoding, and its warning; no samples are held.

        Raises:
            AudioError: see :func:`runtime.audio.load`.
        """
        with self._stream(spec) as stream:
            return sum(map(len, stream.blocks())), stream.warning

    def early(self, start: int, stop: int, spec: AudioSpec) -> np.ndarray:
        """The same numbers as ``whole(spec)[start:stop]``, decoded from the beginning and no
        further: of files in which nothing can be sought, or whose length only decoding can tell.

        Args:
            start: first sample at the spec's rate.
            stop: one past the last.
            spec: the model's audio input.

        Returns:
            int16 ``[stop - start]``; nothing before it is held.

        Raises:
            AudioError: the file cannot be decoded as far as that.
        """
        found: list[np.ndarray] = []
        at = 0
        with self._stream(spec) as stream:
            for block in stream.blocks():
                found.append(block[max(0, start - at) : max(0, stop - at)])
                at += len(block)
                if at >= stop:
                    break
        if at < stop:
            raise AudioError(
                f"'{self.path}' is truncated: {stop} samples were asked for, {at} could be decoded."
            )
        samples = np.concatenate(found)
        return to_int16(audio.round_trip_int16(samples) if spec.int16_round_trip else samples)

    def _stream(self, spec: AudioSpec) -> audio.Stream:
        return audio.Stream(
            self.source(), rate=spec.sample_rate, max_seconds=audio.MAX_SECONDS,
            keep_from=spec.window_samples / spec.sample_rate,
        )  # fmt: skip

    def stated(self) -> tuple[int, int] | None:
        """Frames and rate in Hz by the header; None where only decoding can tell (or fail).

        Of files that are cut or joined libsndfile knows a part, and says nothing. MP3 and Ogg have
        no length in their header: where no frame tells it, it guesses.
        """
        source = self.source()
        try:
            with opened(source) as file:
                frames, rate = int(file.frames), int(file.samplerate)
                searched = file.format in SEARCHED
            if not searched and not _is_whole(source, frames):
                return None
        except UNREADABLE:
            return None
        readable = 0 < frames <= audio.MAX_SECONDS * rate and rate >= audio.MIN_RATE
        return (frames, rate) if readable else None

    def part(self, frames: int, rate: int, start: int, stop: int, spec: AudioSpec) -> np.ndarray:
        """The same numbers as ``whole(spec)[start:stop]``, decoding little more than these.

        Equal rates give exactly the same; resampled ones may differ by one step of int16 where a
        value lies on the edge of rounding. The part read begins at a multiple of the rates' ratio,
        so that the resampler has the same phase as over the whole.

        Args:
            frames: of the file, from :meth:`stated`.
            rate: of the file, in Hz.
            start: first sample at the spec's rate.
            stop: one past the last.
            spec: the model's audio input.

        Returns:
            int16 ``[stop - start]``.

        Raises:
            AudioError: the file cannot be decoded there.
        """
        common = math.gcd(rate, spec.sample_rate)
        up, down = spec.sample_rate // common, rate // common
        guard = 0 if up == down else GUARD * -(-rate // spec.sample_rate)
        first = max(0, start // up * down - -(-guard // down) * down)
        last = min(frames, -(-stop // up) * down + guard)
        try:
            with opened(self.source()) as file:
                file.seek(first)
                kind = "int16" if file.subtype == "PCM_16" else "float32"
                data = file.read(last - first, dtype=kind, always_2d=True)
        except UNREADABLE as error:
            reason = getattr(error, "error_string", error)
            raise AudioError(f"'{self.path}' cannot be decoded: {reason}") from error
        if len(data) < last - first:
            raise AudioError(
                f"'{self.path}' is truncated: {last - first} frames were asked for at {first}, "
                f"{len(data)} could be decoded."
            )
        try:
            samples = audio.read(np.moveaxis(data, 1, 0), rate).samples
        except AudioError as error:
            raise AudioError(f"'{self.path}': {error}") from error
        samples = audio.resample(samples, rate, spec.sample_rate)
        if spec.int16_round_trip:
            samples = audio.round_trip_int16(samples)
        begin = start - first // down * up
        return to_int16(samples[begin : begin + stop - start])


def opened(source: Path | bytes) -> soundfile.SoundFile:
    """The file, or the bytes, as libsndfile opens them."""
    if isinstance(source, bytes):
        return soundfile.SoundFile(io.BytesIO(source))
    # As bytes: a name that is not UTF-8 cannot be given otherwise. Windows knows names as text.
    name: Any = source if os.name == "nt" else os.fsencode(source)
    return soundfile.SoundFile(name)


def _is_whole(source: Path | bytes, frames: int) -> bool:
    """Whether a file is one part that decodes by itself, and has as many frames as is said."""
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as data:
        found = structure.find(Content(data))
    (part, *more) = found.parts
    return not (more or part.head or found.warning) and part.frames in (None, frames)


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Float samples in [-1, 1] as int16 levels; what overshoots is clipped."""
    levels = np.round(samples * FULL_SCALE)
    return np.clip(levels, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
