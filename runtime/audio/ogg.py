"""Ogg: pages, and links of a chain, each of which is a recording of its own."""

from __future__ import annotations

from runtime.audio.content import Content
from runtime.audio.parts import Part, Structure

CONTINUED, FIRST, LAST = 1, 2, 4  # flags of a page
LONGEST = 27 + 255 + 255 * 255  # bytes of a page
UNENDED = "it ends without its last page"
UNSET = (1 << 64) - 1  # position of a page on which no packet ends


def structure(content: Content, start: int) -> Structure:
    """The links of a chain, most often one.

    Args:
        content: of the file.
        start: its first page.

    Raises:
        OSError: it cannot be read.
    """
    links = [start]
    at, last, begun, ended = start, start, False, False
    position = furthest = 0
    warning: str | None = None
    while 0 <= at < content.size:
        header = content.at(at, 27)
        if header[:4] != b"OggS" or len(header) < 27:
            # Behind damage, or inside the page before it: a file that was cut and had another one
            # joined to it states more bytes than it has.
            at = content.find(b"OggS", max(last + 1, at - LONGEST))
            ended, last = False, at
            continue
        flags, count = header[5], header[26]
        size = 27 + count + sum(content.at(at + 27, count))
        if flags & FIRST and begun:
            warning = warning or (None if ended else UNENDED)
            links.append(at)
            begun, position, furthest = False, 0, 0
        begun = begun or not flags & FIRST
        granule = int.from_bytes(header[6:14], "little")
        if granule != UNSET and not granule >> 63:
            position, furthest = granule, max(furthest, granule)
        ended = bool(flags & LAST) and at + size <= content.size
        last, at = at, at + size
    if not ended:
        warning = UNENDED
    elif position < furthest:
        warning = "the times of its pages go back"
    parts = zip(links, [*links[1:], content.size], strict=True)
    return Structure(tuple(Part(begin, end) for begin, end in parts), warning)
