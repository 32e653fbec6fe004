"""FLAC: the number of samples in its header ends the decoder, so the decoder is not told it."""

from __future__ import annotations

from runtime.audio.content import Content
from runtime.audio.parts import Part, Structure

START = b"fLaC\0\0\0\x22"  # with the header of its first block, which has 34 bytes
FRAME = 65_535, 11  # most samples of a frame, and least bytes


def structure(content: Content, start: int) -> Structure:
    """The parts of a FLAC file, of which several may have been joined."""
    parts: list[Part] = []
    while True:
        following = content.find(START, start + 8)
        end = content.size if following < 0 else following
        head = bytearray(content.at(start, 26))
        stated = int.from_bytes(head[18:26], "big") & ((1 << 36) - 1) if len(head) == 26 else 0
        most, least = FRAME
        plausible = 0 < stated <= (end - start) // least * most
        if len(head) == 26:
            head[21] &= 0xF0
            head[22:26] = bytes(4)
        parts.append(Part(start + len(head), end, bytes(head), stated if plausible else None))
        if following < 0:
            return Structure(tuple(parts))
        start = following
