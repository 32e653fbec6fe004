"""A task's clips for ``clap-export``: the CSV that its ``--listing`` reads."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from runtime.errors import ClapError
from train.config.data import TaskConfig
from train.data.listing import read_listing


def write(tasks: Sequence[TaskConfig], name: str, output: Path) -> int:
    """Write the clips of one of the tasks, with whole paths, and say how many there are.

    ``clap-export`` takes the labels that have clips as candidates, which are fewer than the task's
    where some have none.

    Args:
        tasks: of a config.
        name: which of them.
        output: the CSV; replaced in one rename.

    Raises:
        ClapError: no such task, clips inside tar shards, or labels with a ``|``.
    """
    by_name = {task.name: task for task in tasks}
    if name not in by_name:
        has = f"it has {', '.join(by_name)}" if by_name else "it has no [[tasks]]"
        raise ClapError(f"there is no task {name!r} in the config: {has}.")
    clips = read_listing(by_name[name].listing)
    problems = [f"{clip.where}: inside a tar file" for clip in clips if clip.member is not None]
    # There it stands between the labels of one recording.
    labels = sorted({clip.label for clip in clips if "|" in clip.label})
    problems += [f"label {label!r}: has a |" for label in labels]
    if problems:
        more = f" and {len(problems) - 9} more" * (len(problems) > 9)
        raise ClapError(f"task {name} cannot be a listing: {'; '.join(problems[:9])}{more}.")
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(("path", "label"))
            rows.writerows((clip.path.resolve(), clip.label.replace("_", " ")) for clip in clips)
        part.replace(output)
    except OSError as error:
        raise ClapError(f"{output} cannot be written: {error}.") from error
    return len(clips)
