"""Which files of a folder are recordings: told by the name, as folders hold other files too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

# What libsndfile reads, by the suffixes in use, and the ffmpeg program where there is one.
SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf"}
    | {".w64", ".rf64"}
    | {".m4a", ".aac", ".mp4", ".webm", ".mkv", ".mka", ".mov", ".wma", ".amr", ".3gp", ".ac3"}
    | {".wv", ".tta"}
)


def is_audio(name: str) -> bool:
    """Whether a file's name is that of a recording."""
    return Path(name).suffix.lower() in SUFFIXES


def find(folder: Path) -> Iterator[Path]:
    """Recordings in a folder, however deep, in order; names that begin with a dot are hidden."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and is_audio(path.name) and path.is_file():
            yield path
