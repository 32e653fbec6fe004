"""Folder-per-class: the oldest layout of labelled audio."""

from __future__ import annotations

from pathlib import Path

from runtime.audio_files import is_audio
from runtime.errors import ClapError
from train.data.table import Row, Table


def read_folders(path: Path) -> Table:
    """Audio files of every folder in ``path``, however deep, with the folder's name as class.

    Columns: ``file`` (path relative to the folder), ``class`` (name of the first folder),
    ``folder`` (the path of folders it lies in, for ``where`` and ``exclude``). Files of other
    kinds, and names that begin with a dot, are passed over.

    Raises:
        ClapError: no folder, or no audio in folders.
    """
    if not path.is_dir():
        raise ClapError(f"listing {path} is not a folder; kind 'folders' needs one.")
    rows = []
    for file in sorted(path.rglob("*")):
        relative = file.relative_to(path)
        hidden = any(part.startswith(".") for part in relative.parts)
        if hidden or not is_audio(file.name) or len(relative.parts) < 2:
            continue
        columns = {
            "file": relative.as_posix(),
            "class": relative.parts[0],
            "folder": relative.parent.as_posix(),
        }
        rows.append(Row(relative.as_posix(), columns))
    if not rows:
        raise ClapError(
            f"listing {path} has no audio files in folders; kind 'folders' takes CLASS/NAME.wav."
        )
    return Table(path, rows, "file", names=("class",), labels=("class",))
