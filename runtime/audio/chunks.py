"""WAV and AIFF: chunks of a name and a size, one of which holds the samples."""

from __future__ import annotations

import struct

from runtime.audio.content import WINDOW, Content
from runtime.audio.parts import Part, Structure

STALE = 1 << 16  # bytes behind the stated end of a WAV that are taken for more of its samples
# Sizes that writers to a pipe put where they cannot know: ffmpeg all ones, sox a bit under 2 GiB.
UNKNOWN_SIZE = 0x7FFF_F000
MOST_CHUNKS = 10_000  # looked at, in one file


def structure(content: Content, start: int, order: str, wanted: bytes) -> Structure:
    """The parts of a file of chunks.

    Args:
        content: of the file.
        start: where it begins.
        order: of the bytes of a number, as ``struct`` has it.
        wanted: name of the chunk of samples.
    """
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


def has_chunks(content: Content, at: int) -> bool:
    """Whether chunks of a WAV follow up to the end, as behind its samples."""
    return _chain(content, at, "<I", b"RF64")[0]


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
