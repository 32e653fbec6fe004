"""RF64, W64, AU and others: one length of all samples in a header, which may not be true.

libsndfile reads as far as the length says: nothing of a file whose writer was killed before it
could put it in, and without a word what is there of a file that was cut.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass

from runtime.audio.chunks import MOST_CHUNKS, STALE, has_chunks
from runtime.audio.content import WINDOW, Content
from runtime.audio.parts import Part, Structure

W64_CHUNK = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"  # behind the name of each but riff
IN_DS64 = 0xFFFF_FFFF  # in place of a size that RF64 has in its first chunk
LONGEST = 1 << 62  # bytes: more stands for "not known"


@dataclass(frozen=True)
class _Length:
    """The length of all samples, in a header.

    Attributes:
        at: its place, from the start of the header.
        code: of its type, as ``struct`` has it.
        body: where the samples begin in the file.
        stated: bytes of samples.
        added: bytes of the header that the number counts as well.
    """

    at: int
    code: str
    body: int
    stated: int
    added: int = 0


def rf64(content: Content, start: int) -> Structure:
    """The parts of a WAV of more than 4 GiB."""
    at = start + 12
    first = content.at(at, 24)
    if first[:4] != b"ds64" or len(first) < 24:
        return _whole(content, start)
    for _ in range(MOST_CHUNKS):
        header = content.at(at, 8)
        if len(header) < 8:
            break
        (size,) = struct.unpack("<I", header[4:])
        if header[:4] == b"data":
            if size != IN_DS64:
                found = _Length(at + 4 - start, "<I", at + 8, size)
            else:
                found = _Length(28, "<Q", at + 8, *struct.unpack("<Q", first[16:24]))
            return _structure(content, start, found)
        at += 8 + size + size % 2
    return _whole(content, start)


def w64(content: Content, start: int) -> Structure:
    """The parts of a Sony Wave64."""
    at = start + 40
    for _ in range(MOST_CHUNKS):
        header = content.at(at, 24)
        if len(header) < 24 or header[4:16] != W64_CHUNK:
            break
        (size,) = struct.unpack("<Q", header[16:])
        if header[:4] == b"data":
            length = _Length(at + 16 - start, "<Q", at + 24, max(0, size - 24), 24)
            return _structure(content, start, length)
        at += max(24, (size + 7) // 8 * 8)
    return _whole(content, start)


def au(content: Content, start: int) -> Structure:
    """The parts of a Sun or NeXT file, whose numbers may be in either order."""
    header = content.at(start, 12)
    order = ">" if header[:4] == b".snd" else "<"
    if len(header) < 12:
        return _whole(content, start)
    offset, size = struct.unpack(order + "II", header[4:])
    stated = LONGEST + 1 if size == IN_DS64 else size
    return _structure(content, start, _Length(8, order + "I", start + offset, stated))


def caf(content: Content, start: int) -> Structure:
    """The parts of an Apple CAF. It is only looked at whether the file was cut: programs that
    write to a pipe have a sign of their own for a length that they do not know."""
    at = start + 8
    for _ in range(MOST_CHUNKS):
        header = content.at(at, 12)
        if len(header) < 12:
            break
        (size,) = struct.unpack(">q", header[4:])
        if header[:4] == b"data":
            length = _Length(at + 4 - start, ">q", at + 16, size - 4, 4)  # behind an edit count
            if _missing(content, length):
                return _structure(content, start, length)
            break
        at += 12 + max(0, size)
    return _whole(content, start)


def voc(content: Content, start: int) -> Structure:
    """The parts of a Creative Voice file: blocks of a type and a size of three bytes."""
    at = start + int.from_bytes(content.at(start + 20, 2), "little")
    for _ in range(MOST_CHUNKS):
        header = content.at(at, 4)
        if len(header) < 4 or not header[0]:
            break
        length = _Length(0, "", at + 4, int.from_bytes(header[1:], "little"))
        if _missing(content, length):
            return _cut(content, start, length)
        at = length.body + length.stated
    return _whole(content, start)


def nist(content: Content, start: int) -> Structure:
    """The parts of a NIST Sphere, whose header is text; its own packed samples are left alone."""
    text = content.at(start, 1024)
    sizes = [
        int(found[1])
        if (found := re.search(rb"\n%s -(?:i|s\d+) (\d{1,12})\n" % field, text))
        else 0
        for field in (b"sample_count", b"channel_count", b"sample_n_bytes")
    ]
    if not re.fullmatch(rb" *\d{3,6}", text[8:15]) or b",embedded" in text:
        return _whole(content, start)
    length = _Length(0, "", start + int(text[8:15]), math.prod(sizes))
    return _cut(content, start, length) if _missing(content, length) else _whole(content, start)


def _missing(content: Content, length: _Length) -> bool:
    return 0 < content.size - length.body < length.stated


def _cut(content: Content, start: int, length: _Length) -> Structure:
    left = content.size - length.body
    return Structure(
        (Part(start, content.size),),
        f"its header states {length.stated} bytes of samples and {left} are there",
    )


def _structure(content: Content, start: int, length: _Length) -> Structure:
    left, stated = content.size - length.body, length.stated
    if left <= 0 or length.body - start > WINDOW:
        return _whole(content, start)
    behind = 0 < stated <= left and (
        left - stated < STALE or has_chunks(content, length.body + stated)
    )
    if behind:
        return _whole(content, start)
    head = bytearray(content.at(start, length.body - start))
    most = (1 << 8 * struct.calcsize(length.code)) - 1
    struct.pack_into(length.code, head, length.at, min(left + length.added, most))
    warning = None
    if stated <= left:
        warning = (
            f"its header was not completed: it states {stated} bytes of samples, and all {left} "
            "were read"
        )
    elif stated <= LONGEST:
        warning = f"its header states {stated} bytes of samples and {left} are there"
    return Structure((Part(length.body, content.size, bytes(head)),), warning)


def _whole(content: Content, start: int) -> Structure:
    return Structure((Part(start, content.size),))
