"""A stretch of an audio file that decodes by itself, and what a file is made of."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.audio.content import Content


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

    def whole(self, content: Content) -> bool:
        """Whether it is the file as it is."""
        return not self.head and self.start == 0 and self.end == content.size


@dataclass(frozen=True)
class Structure:
    """Parts of a file, in order.

    Attributes:
        parts: at least one.
        warning: what is wrong with the file, a clause.
    """

    parts: tuple[Part, ...]
    warning: str | None = None


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
