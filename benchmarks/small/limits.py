"""A process with one core and little memory."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MEMORY = Path("/sys/fs/cgroup/memory")
OUT_OF_MEMORY = -9  # the kernel's kill
SECONDS = 120.0  # until what only swaps its own code in and out is called too slow


@dataclass(frozen=True)
class Group:
    """A control group for memory (version 1) that was made for this, and one core.

    Without swap, as here, a process that needs more than the limit is killed. Files that other
    processes have read count for those; so what is limited is nearly only the memory that a process
    holds for itself.
    """

    folder: Path
    core: int

    def run(self, command: Sequence[str], mib: int) -> str | None:
        """What it printed; None if the memory was not enough.

        Raises:
            SystemExit: it failed otherwise.
        """
        (self.folder / "memory.limit_in_bytes").write_text(str(mib << 20))

        def join() -> None:
            (self.folder / "cgroup.procs").write_text(str(os.getpid()))
            os.sched_setaffinity(0, {self.core})

        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=join
        )
        try:
            out, said = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return None
        if process.returncode == 0:
            return out
        if process.returncode == OUT_OF_MEMORY or "MemoryError" in said or "bad_alloc" in said:
            return None
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {said[-2000:]}")


@contextmanager
def group(core: int) -> Iterator[Group]:
    """One for as long as it is needed.

    Raises:
        SystemExit: none can be made.
    """
    folder = MEMORY / f"clap-small-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        raise SystemExit(
            f"no control group for memory can be made ({error}): it takes root's rights, and "
            "version 1 of control groups."
        ) from None
    try:
        yield Group(folder, core)
    finally:
        folder.rmdir()
