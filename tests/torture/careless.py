"""Writers as they must not be: the torture has to find what is wrong with each."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from runtime.errors import ClapError
from tests.torture.writers import Writer

OLD, NEW = b"old" * 1000, b"new" * 1000


def writers(made: Path, only: Sequence[str] = ()) -> dict[str, Writer]:
    """See :func:`tests.torture.writers.writers`."""

    def before(folder: Path) -> None:
        (folder / "file").write_bytes(OLD)

    def age(folder: Path) -> str:
        data = (folder / "file").read_bytes()
        if data not in (OLD, NEW):
            raise ValueError("neither the old nor the new")
        return "old" if data == OLD else "new"

    def in_place(folder: Path) -> None:
        try:
            (folder / "file").write_bytes(NEW)
        except OSError as error:
            raise ClapError("cannot be written") from error

    def litters(folder: Path) -> None:
        part = folder / "file.part"
        try:
            part.write_bytes(NEW)
            part.replace(folder / "file")
        except OSError as error:
            raise ClapError("cannot be written") from error

    def escapes(folder: Path) -> None:
        part = folder / "file.part"
        try:
            part.write_bytes(NEW)
            part.replace(folder / "file")
        finally:
            part.unlink(missing_ok=True)

    def silent(folder: Path) -> None:
        with contextlib.suppress(OSError):
            escapes(folder)

    return {w.__name__: Writer(before, w, age) for w in (in_place, litters, escapes, silent)}
