"""FLAC: the number of samples in its header ends the decoder, so the decoder is not told it."""

from __future__ import annotations

from runtime.audio.content import Content
from runtime.audio.parts import Part, Structure

START = b"fLaC\0\0\0\x22"  # with the header of its first block, which has 34 bytes
LONGEST = 1 << 20  # bytes at the end of a file in which its last frame is looked for
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


def end(content: Content) -> int | None:
    """Where the last frame of a FLAC file ends, in samples; None if it cannot be told.

    Raises:
        OSError: the file cannot be read.
    """
    fixed = int.from_bytes(content.at(10, 2), "big")
    begin = max(0, content.size - LONGEST)
    data = content.at(begin, content.size - begin)
    at = len(data)
    while (at := data.rfind(b"\xff", 0, at)) >= 0:
        found = _frame(data[at : at + 17], fixed)
        if found is not None:
            return found
    return None


def _frame(data: bytes, fixed: int) -> int | None:
    """Where a frame ends, in samples, by its header; None if these bytes are none."""
    if len(data) < 6 or data[1] & 0xFE != 0xF8 or data[3] & 1:
        return None
    size, rate, more = data[2] >> 4, data[2] & 15, 8 - (data[4] ^ 0xFF).bit_length()
    length = 4 + max(1, more)  # the number is written as UTF-8 writes characters
    number = data[4] & 0x7F >> more
    for byte in data[5:length]:
        number = number << 6 | byte & 0x3F
    own = {6: 1, 7: 2}.get(size, 0)  # bytes
    after = length + own
    length = after + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if more == 1 or not size or rate == 15 or len(data) <= length:
        return None
    if _crc(data[:length]) != data[length]:
        return None
    if own:
        samples = int.from_bytes(data[after - own : after], "big") + 1
    else:
        samples = 192 if size == 1 else 576 << size - 2 if size < 6 else 256 << size - 8
    return (number if data[1] & 1 else number * fixed) + samples


def _crc(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x107) if value & 0x80 else value << 1
    return value
