"""MPEG audio (MP3): a row of frames, of which a decoder must be told how many there are.

A file of variable bit rate tells it in an Info frame at its beginning (Xing's, written "Xing" or
"Info"). Without one, a decoder divides the file's size by that of the first frame. The frames are
counted here, and a true Info frame is put in front where there is none or where it is wrong.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from functools import lru_cache

from runtime.audio.content import WINDOW, Content
from runtime.audio.parts import Part, Structure, skip_tags

# Sync, a version and layer that exist, a bit rate that is stated, a sample rate that exists.
SYNC = re.compile(
    b"\xff["
    + b"".join(b"\\x%02x" % b for b in range(0xE0, 256) if b >> 3 & 3 != 1 and b >> 1 & 3)
    + b"]["
    + b"".join(b"\\x%02x" % b for b in range(256) if b >> 4 not in (0, 15) and b >> 2 & 3 != 3)
    + b"]"
)
LAYER_3 = 1  # as written in a header
MPEG_1 = 3
RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
# kbit/s of MPEG 1's layers, and of the two kinds of MPEG 2's; by the index in the header.
KBITS = {
    (True, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 1): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
MOST_TRIES = 50_000  # places looked at for a frame behind damage, in one file


@dataclass(frozen=True)
class Frame:
    """What a frame's header says.

    Attributes:
        size: of the frame, in bytes.
        samples: that it decodes to.
        name: where an Info frame has its name, behind the side information.
        layer_3: it may be an Info frame.
        kind: what all frames of a recording share: version, layer, rate, and whether it is mono.
    """

    size: int
    samples: int
    name: int
    layer_3: bool
    kind: tuple[int, int, int, bool]


@dataclass
class _Run:
    """Frames without a gap. ``info`` is its Info frame, which is not counted."""

    start: int
    frame: Frame
    header: bytes
    info: bytes = b""
    count: int = 0
    end: int = 0


def structure(content: Content, start: int) -> Structure | None:
    """Runs of frames; None when there are none.

    Args:
        content: of the file.
        start: where the frames may begin.

    Raises:
        OSError: it cannot be read.
    """
    runs: list[_Run] = []
    run: _Run | None = None
    tries, skipped, at = MOST_TRIES, 0, start
    while at < content.size:
        header = content.at(at, 4)
        frame = parse(header)
        info = _info(content, at, frame) if frame is not None else b""
        if frame is None or at + frame.size > content.size:
            frame = None
        elif run is None or frame.kind != run.frame.kind or info:
            if not _followed(content, at, frame):
                frame = None
            else:
                run = _Run(at, frame, header, info, 0, at)
                runs.append(run)
        if frame is not None and run is not None:
            run.count += not info
            at = run.end = at + frame.size
            continue
        run = None
        behind = _behind_tags(content, at)
        if behind == at:
            found, tries = _next(content, at + 1, tries)
            skipped += found - at
            behind = found
        at = behind
    runs = [run for run in runs if run.count]
    if not runs:
        return None
    warning = None
    if skipped > 4096 or (runs[-1].end < content.size and tries == 0):
        warning = f"{skipped} bytes of it are no frames"
    parts = tuple(_part(content, run) for run in runs)
    stated = _stated(runs[0].info, runs[0].frame)
    count = sum(run.count for run in runs)
    if stated is not None and stated > count + 1:
        warning = f"its header states {stated} frames, and {count} are there"
    return Structure(parts, warning)


@lru_cache(maxsize=4096)
def parse(header: bytes) -> Frame | None:
    """What the four bytes of a header say; None if they are none."""
    if len(header) < 4 or not SYNC.match(header):
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    first = version == MPEG_1
    rate = RATES[version][header[2] >> 2 & 3]
    bits = 1000 * KBITS[first, layer][(header[2] >> 4) - 1]
    padding = header[2] >> 1 & 1
    if layer == 3:  # layer I counts in slots of four bytes
        size, samples = (12 * bits // rate + padding) * 4, 384
    else:
        samples = 576 if layer == LAYER_3 and not first else 1152
        size = samples // 8 * bits // rate + padding
    mono = header[3] >> 6 == 3
    side = (17 if mono else 32) if first else (9 if mono else 17)
    return Frame(size, samples, 4 + side, layer == LAYER_3, (version, layer, rate, mono))


def _info(content: Content, at: int, frame: Frame) -> bytes:
    """An Info frame with the number of frames, or Fraunhofer's; else nothing."""
    if not frame.layer_3:
        return b""
    data = content.at(at, min(frame.size, 200))
    if b"Xing" not in data and b"Info" not in data and b"VBRI" not in data:
        return b""
    named = data[frame.name : frame.name + 4] in (b"Xing", b"Info") or data[36:40] == b"VBRI"
    return content.at(at, frame.size) if named else b""


def _stated(info: bytes, frame: Frame) -> int | None:
    """The number of frames that an Info frame states."""
    if not info:
        return None
    place = frame.name
    if info[place : place + 4] not in (b"Xing", b"Info") or not info[place + 7] & 1:
        return None
    return int.from_bytes(info[place + 8 : place + 12], "big")


def _part(content: Content, run: _Run) -> Part:
    stated = _stated(run.info, run.frame)
    frames = run.count * run.frame.samples
    if not run.frame.layer_3:
        return Part(run.start, run.end, frames=frames)
    first = run.start + len(run.info)
    if stated in (run.count, run.count + 1):  # some count the Info frame
        return Part(run.start, run.end)
    if stated is None:
        return Part(first, run.end, _made(run), frames)
    info, place = bytearray(run.info), run.frame.name
    struct.pack_into(">I", info, place + 8, run.count)
    if info[place + 7] & 2:  # its own idea of the size, of which mpg123 warns on stderr
        struct.pack_into(">I", info, place + 12, run.end - run.start)
    # LAME's part tells how many samples were padded at the end, which is not here.
    lame = place + 8 + sum(n for i, n in enumerate((4, 4, 100, 4)) if info[place + 7] >> i & 1)
    if len(info) >= lame + 24:
        info[lame + 22] &= 0xF0
        info[lame + 23] = 0
    return Part(first, run.end, bytes(info))


def _made(run: _Run) -> bytes:
    """An Info frame that states the number of frames, and nothing else."""
    first = run.frame.kind[0] == MPEG_1
    # 128 kbit/s of MPEG 1, 64 of MPEG 2: there is room at any sample rate. No checksum, no padding.
    header = bytes(
        [0xFF, run.header[1] | 1, (0x90 if first else 0x80) | run.header[2] & 0x0C, run.header[3]]
    )
    frame = parse(header)
    assert frame is not None
    info = bytearray(frame.size)
    info[:4] = header
    struct.pack_into(">4sII", info, frame.name, b"Info", 1, run.count)
    return bytes(info)


def _followed(content: Content, at: int, frame: Frame) -> bool:
    """Whether another frame of the kind follows, or the end."""
    behind = at + frame.size
    if behind == content.size or _behind_tags(content, behind) != behind:
        return True
    after = parse(content.at(behind, 4))
    return after is not None and after.kind == frame.kind


def _next(content: Content, at: int, tries: int) -> tuple[int, int]:
    """Where frames go on, or the file ends; and how many more places may be looked at."""
    while at < content.size:
        data = content.at(at, WINDOW)
        for found in SYNC.finditer(data):
            tries -= 1
            if tries <= 0:
                return content.size, 0
            frame = parse(content.at(at + found.start(), 4))
            if frame is not None and _followed(content, at + found.start(), frame):
                return at + found.start(), tries
        at += max(1, len(data) - 2)
    return content.size, tries


def _behind_tags(content: Content, at: int) -> int:
    """Where a file goes on behind tags of other programs."""
    start = content.at(at, 32)
    if start[:3] == b"TAG":
        return min(at + 128, content.size)
    if start[:8] == b"APETAGEX" and len(start) == 32:
        (size,) = struct.unpack("<I", start[12:16])
        return min(at + 32 + size, content.size)
    return skip_tags(content, at)
