"""Readers of our timelines that know the formats, and nothing of who wrote them."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

TIME = r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})"


@dataclass(frozen=True)
class Cue:
    start: float
    end: float
    text: str


def webvtt(text: str) -> list[Cue]:
    """Strictly by W3C's WebVTT: header, blank lines, timings, cue text without markup."""
    assert "\0" not in text
    assert "\r" not in text
    blocks = text.rstrip("\n").split("\n\n")
    assert blocks[0] == "WEBVTT"
    cues = []
    for block in blocks[1:]:
        timing, *lines = block.split("\n")
        match = re.fullmatch(f"{TIME} --> {TIME}", timing)
        assert match is not None, timing
        h1, m1, s1, f1, h2, m2, s2, f2 = map(int, match.groups())
        start = 3600 * h1 + 60 * m1 + s1 + f1 / 1000
        end = 3600 * h2 + 60 * m2 + s2 + f2 / 1000
        assert start < end
        (line,) = lines
        assert "-->" not in line
        assert not re.search("[<>]|&(?!(amp|lt|gt);)", line), line
        cues.append(Cue(start, end, html.unescape(line)))
    assert cues == sorted(cues, key=lambda cue: cue.start)
    return cues


def audacity(text: str) -> list[tuple[float, float, str]]:
    rows = []
    for line in text.split("\n")[:-1]:
        start, end, label = line.split("\t")
        assert re.fullmatch(r"\d+\.\d{6}", start)
        assert re.fullmatch(r"\d+\.\d{6}", end)
        rows.append((float(start), float(end), label))
    return rows


def raven(text: str) -> list[dict[str, str]]:
    head, *lines = text.split("\n")[:-1]
    names = head.split("\t")
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines]
