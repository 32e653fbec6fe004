"""Readers of captioned recordings: AudioCaps and Clotho."""

from __future__ import annotations

from train.published.layout import Layout
from train.published.task import Captioned


def audiocaps(layout: Layout) -> Captioned:
    """``dataset/test.csv`` of the repository, five rows a clip, and ``audio/<youtube_id>.wav``.

    Columns by github.com/cdjkim/audiocaps.

    There is no official audio, so the name of the audio folder is this project's; clips are cut
    from ``start_time`` on, 10 s long.
    """
    captions: dict[str, list[str]] = {}
    for row in layout.table("dataset/test.csv", ("youtube_id", "start_time", "caption")):
        captions.setdefault(f"audio/{row['youtube_id']}.wav", []).append(row["caption"])
    return _there(layout, captions)


def clotho(layout: Layout) -> Captioned:
    """``clotho_captions_evaluation.csv``, five captions a row, and ``evaluation/*.wav``.

    Layout by the record (zenodo.org/record/4783391), whose archives unpack into their split's name.
    """
    columns = [f"caption_{i}" for i in range(1, 6)]
    rows = layout.table("clotho_captions_evaluation.csv", ("file_name", *columns))
    return _there(
        layout, {f"evaluation/{row['file_name']}": [row[c] for c in columns] for row in rows}
    )


def _there(layout: Layout, captions: dict[str, list[str]]) -> Captioned:
    found, absent = layout.find(captions)
    there = [
        (path, tuple(texts))
        for path, texts in zip(found, captions.values(), strict=True)
        if path is not None
    ]
    return Captioned(tuple(path for path, _ in there), tuple(texts for _, texts in there), absent)
