"""The folder of a run: there, writable, and one run's alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime.errors import ClapError
from runtime.files import owning
from train.machine.distributed import ALONE, Ranks


@contextmanager
def run_folder(out: Path, ranks: Ranks = ALONE) -> Iterator[None]:
    """Make a run's folder, and keep other runs out of it until the block ends.

    Args:
        out: the folder.
        ranks: only the first process makes the folder and holds it, as only that one writes.

    Raises:
        ClapError: it cannot be made, or another run is writing there.
    """
    if not ranks.first:
        yield
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = out.resolve()  # "." has no name that a lock could have
    except (OSError, ValueError, RuntimeError) as error:  # a NUL; links in a circle
        reason = getattr(error, "strerror", None) or error
        raise ClapError(f"out = '{out}' cannot be made a folder: {reason}.") from error
    with owning(folder):
        yield
