"""What an audio file holds behind what its headers say.

libsndfile believes headers: it stops at the length that they state, and at the end of the first of
several files that were joined. So the structure is walked here first, without decoding, and each
stretch that decodes by itself becomes a part, with a header that is true.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from runtime.audio.content import WINDOW, Content

STALE = 1 << 16  # bytes behind the stated end of a WAV that are taken for more of its samples
# Sizes that writers to a pipe put where they cannot know: ffmpeg all ones, sox a bit under 2 GiB.
UNKNOWN_SIZE = 0x7FFF_F000
MOST_CHUNKS = 10_000  # looked at, in one file
FLAC_START = b"fLaC\0\0\0\x22"  # with the header of its first block, which has 34 bytes
FLAC_FRAME = 65_535, 11  # most samples of a FLAC frame, and least bytes


@dataclass(frozen=True)
class Part:
    """A stretch of a file that decodes by itself.

    Attributes:
        start: its first byte.
        end: behind its last byte.
        head: what stands in front of these bytes when they are decoded.
        frames: that it should give, where the structure or a plausible header says so.
    """

    start: int
    end: int
    head: bytes = b""
    frames: int | None = None


@dataclass(frozen=True)
class Structure:
    """Parts of a file, in order.

    Attributes:
        parts: at least one.
        warning: what is wrong with the file, a clause.
    """

    parts: tuple[Part, ...]
    warning: str | None = None


def find(content: Content) -> Structure:
    """The parts of a file.

    Raises:
        OSError: it cannot be read.
    """
    from runtime.audio import mpeg, ogg

    start = skip_tags(content, 0)
    magic = content.at(start, 12)
    if magic[:4] == b"OggS":
        return ogg.structure(content, start)
    if magic[:4] == b"RIFF" and magic[8:] == b"WAVE":
        return _chunks(content, start, "<I", b"data")
    if magic[:4] == b"RIFX" and magic[8:] == b"WAVE":
        return _chunks(content, start, ">I", b"data")
    if magic[:4] == b"FORM" and magic[8:] in (b"AIFF", b"AIFC"):
        return _chunks(content, start, ">I", b"SSND")
    if magic[:8] == FLAC_START:
        return _flac(content, start)
    if start or mpeg.SYNC.match(magic):
        found = mpeg.structure(content, start)
        if found is not None:
            return found
    return Structure((Part(start, content.size),))


def skip_tags(content: Content, start: int) -> int:
    """Where a file begins behind its ID3v2 tags."""
    while (tag := content.at(start, 10))[:3] == b"ID3" and len(tag) == 10:
        if max(tag[3:5]) == 0xFF or max(tag[6:10]) >= 0x80:
            break
        size = tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9]
        behind = start + 10 + size + (10 if tag[5] & 0x10 else 0)
        if behind >= content.size:
            break
        start = behind
    return start


def _chunks(content: Content, start: int, order: str, wanted: bytes) -> Structure:
    """WAV and AIFF: chunks of a name and a size, one of which holds the samples."""
    parts: list[Part] = []
    warnings: list[str] = []
    following: int | None = start
    while following is not None:
        part, following, warning = _chunked(content, following, order, wanted)
        parts.append(part)
        if warning:
            warnings.append(warning)
    return Structure(tuple(parts), warnings[0] if warnings else None)


def _chunked(
    content: Content, start: int, order: str, wanted: bytes
) -> tuple[Part, int | None, str | None]:
    """A file of chunks: itself, where the next one begins that was joined to it, and a warning."""
    at = start + 12
    for _ in range(MOST_CHUNKS):
        header = content.at(at, 8)
        if header[:4] == wanted or len(header) < 8:
            break
        (size,) = struct.unpack(order, header[4:])
        at += 8 + size + size % 2
    else:
        header = b""
    body, left = at + 8, content.size - at - 8
    if len(header) < 8 or body - start > WINDOW:
        return Part(start, content.size), None, None
    (size,) = struct.unpack(order, header[4:])
    if size > left:
        if size >= UNKNOWN_SIZE:
            return Part(start, content.size), None, None
        return (
            Part(start, content.size), None,
            f"its header states {size} bytes of samples and {left} are there",
        )  # fmt: skip
    for behind in dict.fromkeys((body + size + size % 2, body + size)):
        plausible, following = _chain(content, behind, order, content.at(start, 4))
        if plausible:
            return Part(start, following or content.size), following, None
    if size and left - size < STALE:
        return Part(start, content.size), None, None
    head = bytearray(content.at(start, body - start))
    struct.pack_into(order, head, 4, min(content.size - start - 8, 0xFFFF_FFFF))
    struct.pack_into(order, head, len(head) - 4, min(left, 0xFFFF_FFFF))
    return (
        Part(body, content.size, bytes(head)), None,
        f"its header was not completed: it states {size} bytes of samples, and all {left} were "
        "read",
    )  # fmt: skip


def _chain(content: Content, at: int, order: str, first: bytes) -> tuple[bool, int | None]:
    """Whether chunks follow up to the end; and where another file begins, if one does."""
    for _ in range(MOST_CHUNKS):
        if at + 1 >= content.size:
            break
        header = content.at(at, 8)
        if header[:4] == first and content.at(at + 8, 4) in (b"WAVE", b"AIFF", b"AIFC"):
            return True, at
        if header[:3] in (b"TAG", b"ID3") or header == b"APETAGEX":
            return True, None
        if len(header) < 8 or not all(0x20 <= byte < 0x7F for byte in header[:4]):
            return False, None
        (size,) = struct.unpack(order, header[4:])
        at += 8 + size + size % 2
        if at > content.size + 1:
            return False, None
    return True, None


def _flac(content: Content, start: int) -> Structure:
    """FLAC: the number of samples in its header ends the decoder, so the decoder is not told it."""
    parts: list[Part] = []
    while True:
        following = content.find(FLAC_START, start + 8)
        end = content.size if following < 0 else following
        head = bytearray(content.at(start, 26))
        stated = int.from_bytes(head[18:26], "big") & ((1 << 36) - 1) if len(head) == 26 else 0
        most, least = FLAC_FRAME
        plausible = 0 < stated <= (end - start) // least * most
        if len(head) == 26:
            head[21] &= 0xF0
            head[22:26] = bytes(4)
        parts.append(Part(start + len(head), end, bytes(head), stated if plausible else None))
        if following < 0:
            return Structure(tuple(parts))
        start = following
