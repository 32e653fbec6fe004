"""WAV files byte by byte: every kind of sample, and headers that are odd, old or untrue."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
GUID = bytes.fromhex("000000001000800000aa00389b71")  # behind the two bytes of the format's number
UNKNOWN = 0xFFFF_FFFF


@dataclass(frozen=True)
class Kind:
    """How samples are stored.

    Attributes:
        bits: of one.
        is_float: they are floats.
        extensible: in the header with a mask of channels.
    """

    bits: int
    is_float: bool = False
    extensible: bool = False

    def body(self, samples: NDArray[np.float32]) -> bytes:
        """Samples float32 ``[channels, n]`` as this kind has them, rounded to its grid."""
        frames = np.ascontiguousarray(samples.T, np.float64)
        if self.is_float:
            return frames.astype("<f4" if self.bits == 32 else "<f8").tobytes()
        full = float(1 << (self.bits - 1))
        numbers = np.clip(np.round(frames * full), -full, full - 1).astype("<i8")
        if self.bits == 8:
            return (numbers + 128).astype(np.uint8).tobytes()
        size = self.bits // 8
        return numbers.view(np.uint8).reshape(*numbers.shape, 8)[..., :size].tobytes()

    def format(self, channels: int, rate: int) -> bytes:
        """The chunk that says what the samples are."""
        code, frame = FLOAT if self.is_float else PCM, channels * self.bits // 8
        said = EXTENSIBLE if self.extensible else code
        data = struct.pack("<HHIIHH", said, channels, rate, rate * frame, frame, self.bits)
        if self.extensible:
            mask = (1 << channels) - 1
            data += struct.pack("<HHIH", 22, self.bits, mask, code) + GUID
        elif self.is_float:
            data += struct.pack("<H", 0)
        return data


def chunk(name: bytes, data: bytes, stated: int | None = None) -> bytes:
    """A chunk, padded to an even length; ``stated`` is the length in its header."""
    size = len(data) if stated is None else stated
    return name + struct.pack("<I", size) + data + b"\0" * (len(data) % 2)


def wav(
    samples: NDArray[np.float32],
    rate: int,
    kind: Kind,
    *,
    before: bytes = b"",
    behind: bytes = b"",
    stated: int | None = None,
    whole: int | None = None,
) -> bytes:
    """A file.

    Args:
        samples: float32 ``[channels, n]``.
        rate: in Hz.
        kind: of the samples.
        before: chunks before the samples.
        behind: chunks behind them.
        stated: length of the samples in bytes, as the header says; default the truth.
        whole: length of the file less 8 bytes, as the header says; default the truth.
    """
    inner = (
        b"WAVE" + chunk(b"fmt ", kind.format(len(samples), rate)) + before
        + chunk(b"data", kind.body(samples), stated) + behind
    )  # fmt: skip
    return b"RIFF" + struct.pack("<I", len(inner) if whole is None else whole) + inner
