"""Recordings whose headers state what nothing has."""

from __future__ import annotations

import struct

import numpy as np

from tests.torture.found.change import Make, holding


def _wav(channels: int, rate: int, data: bytes, *, kind: int = 1, bits: int = 16) -> bytes:
    size = bits // 8
    described = struct.pack(
        "<HHIIHH", kind, channels, rate, rate * channels * size & 0xFFFFFFFF,
        channels * size & 0xFFFF, bits,
    )  # fmt: skip
    body = b"WAVEfmt " + struct.pack("<I", 16) + described + b"data"
    body += struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _flac(rate: int, channels: int, frames: int) -> Make:
    """A header that states anything, and no sound."""

    def make(data: bytes) -> bytes:
        made = bytearray(data[: 4 + 4 + 34])
        stated = rate << 44 | (channels - 1) << 41 | 15 << 36 | frames
        made[4] |= 0x80  # the last of the headers
        made[18:26] = stated.to_bytes(8, "big")
        return bytes(made)

    return make


def _vorbis(data: bytes) -> bytes:
    """A rate of two gigahertz, by which it would last no time at all."""
    at = data.index(b"\x01vorbis") + 12
    end = data.index(b"OggS", at)
    page = bytearray(data[:at] + struct.pack("<I", 2_000_000_000) + data[at + 4 : end])
    page[22:26] = bytes(4)
    page[22:26] = struct.pack("<I", _ogg_sum(bytes(page)))
    return bytes(page) + data[end:]


def _ogg_sum(page: bytes) -> int:
    """The checksum of a page of Ogg (polynomial 0x04C11DB7, highest bit first)."""
    found = 0
    for byte in page:
        found ^= byte << 24
        for _ in range(8):
            found = found << 1 ^ (0x04C11DB7 if found & 0x80000000 else 0)
        found &= 0xFFFFFFFF
    return found


def _loud_samples() -> bytes:
    return np.full(8000, 1e20, np.float32).tobytes()


WAVS: dict[str, Make] = {
    "65535 channels": holding(_wav(65535, 48_000, bytes(1 << 18))),
    "no channels": holding(_wav(0, 48_000, bytes(4096))),
    "one hertz": holding(_wav(1, 1, bytes(4096))),
    "a gigahertz": holding(_wav(1, 10**9, bytes(4096))),
    "zero hertz": holding(_wav(1, 0, bytes(4096))),
    "two hours": holding(_wav(1, 1000, bytes(2 * 7200 * 1000))),
    "no samples": holding(_wav(1, 48_000, b"")),
    "a header alone": lambda data: data[:20],
}

FOUND: dict[str, dict[str, Make]] = {
    "wav": WAVS,
    "wav-float": {
        "finite, and far too loud": holding(_wav(1, 8000, _loud_samples(), kind=3, bits=32)),
        "not a number": holding(_wav(1, 8000, struct.pack("<f", np.nan) * 8000, kind=3, bits=32)),
    },
    "flac": {
        "an hour of eight channels in 42 bytes": _flac(655_350, 8, 655_350 * 3600),
        "2^31 frames in 42 bytes": _flac(48_000, 1, 2**31),
    },
    "vorbis": {"two gigahertz": _vorbis},
}
