"""A task's clips for ``clap-export``: the CSV that its ``--listing`` reads."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from runtime.errors import ClapError
from runtime.files import writing
from runtime.problems import listed
from train.config.data import TaskConfig
from train.data.listing import read_listing
from train.zero_shot.task import plain


def write(tasks: Sequence[TaskConfig], name: str, output: Path) -> int:
    """Write the clips of one of the tasks, with whole paths, and say how many there are.

    ``clap-export`` takes the labels that have clips as candidates, which are fewer than the task's
    where some have none.

    Args:
        tasks: of a config.
        name: which of them.
        output: the CSV; replaced in one rename.

    Raises:
        ClapError: no such task; clips inside tar shards, names that are not UTF-8, or labels with a
            ``|`` (all are listed); or the CSV cannot be written.
    """
    by_name = {task.name: task for task in tasks}
    if name not in by_name:
        has = f"it has {', '.join(by_name)}" if by_name else "it has no [[tasks]]"
        raise ClapError(f"there is no task {name!r} in the config: {has}.")
    clips = read_listing(by_name[name].listing)
    paths = [str(clip.path.resolve()) for clip in clips]
    problems = [f"{clip.where}: inside a tar file" for clip in clips if clip.member is not None]
    problems += [f"{path!a}: its name is not UTF-8" for path in paths if not _is_utf8(path)]
    # There it stands between the labels of one recording.
    labels = sorted({clip.label for clip in clips if "|" in clip.label})
    problems += [f"label {label!r}: has a |" for label in labels]
    if problems:
        raise ClapError(f"task {name} cannot be a listing: {listed(problems)}.")
    with writing(output) as part, part.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("path", "label"))
        rows.writerows(zip(paths, (plain(clip.label) for clip in clips), strict=True))
    return len(clips)


def _is_utf8(name: str) -> bool:
    """Whether a file's name is one of a text file: bytes that are not UTF-8 come as surrogates."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)
