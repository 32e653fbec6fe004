"""What an audio file holds behind what its headers say.

libsndfile believes headers: it stops at the length that they state, and at the end of the first of
several files that were joined. So the structure is walked here first, without decoding, and each
stretch that decodes by itself becomes a part, with a header that is true.
"""

from __future__ import annotations

from runtime.audio import chunks, flac, lengths, mpeg, ogg
from runtime.audio.content import Content
from runtime.audio.parts import Part, Structure, skip_tags


def find(content: Content) -> Structure:
    """The parts of a file.

    Raises:
        OSError: it cannot be read.
    """
    start = skip_tags(content, 0)
    magic = content.at(start, 12)
    if magic[:4] == b"OggS":
        return ogg.structure(content, start)
    if magic[:4] == b"RIFF" and magic[8:] == b"WAVE":
        return chunks.structure(content, start, "<I", b"data")
    if magic[:4] == b"RIFX" and magic[8:] == b"WAVE":
        return chunks.structure(content, start, ">I", b"data")
    if magic[:4] == b"FORM" and magic[8:] in (b"AIFF", b"AIFC"):
        return chunks.structure(content, start, ">I", b"SSND")
    if magic[:4] == b"FORM" and magic[8:] in (b"8SVX", b"16SV"):
        return chunks.structure(content, start, ">I", b"BODY")
    if magic[:4] == b"RF64":
        return lengths.rf64(content, start)
    if magic == b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb":
        return lengths.w64(content, start)
    if magic[:4] in (b".snd", b"dns."):
        return lengths.au(content, start)
    if magic[:4] == b"caff":
        return lengths.caf(content, start)
    if magic == b"Creative Voi":
        return lengths.voc(content, start)
    if magic[:8] == b"NIST_1A\n":
        return lengths.nist(content, start)
    if magic[:8] == flac.START:
        return flac.structure(content, start)
    adts = magic[:1] == b"\xff" and magic[1:2] and magic[1] & 0xF6 == 0xF0  # AAC, no MPEG layer
    if not adts and (start or mpeg.SYNC.match(magic)):
        found = mpeg.structure(content, start)
        if found is not None:
            return found
    return Structure((Part(start, content.size),))
