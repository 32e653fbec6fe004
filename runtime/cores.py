"""How many cores this process may use: of the machine, of its affinity, of its container."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

from runtime.arguments import shown
from runtime.errors import ClapError

SWITCH = "CLAP_THREADS"
CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Cores that this process may use, at least 1.

    The least of the machine's, those that the process is bound to (``taskset``, Slurm), the CPU
    time that its control group is given (``docker run --cpus``, Kubernetes limits), rounded up, and
    the number in the environment's ``CLAP_THREADS``.

    Raises:
        ClapError: ``CLAP_THREADS`` is no number of threads.
    """
    if hasattr(os, "sched_getaffinity"):
        found = len(os.sched_getaffinity(0))
    else:
        found = os.cpu_count() or 1
    limit = cgroup_limit()
    found = max(1, found if limit is None else min(found, math.ceil(limit)))
    return min(found, cap() or found)


def cap() -> int | None:
    """The most threads that the environment allows, if it says so.

    Raises:
        ClapError: what it says is no number of threads.
    """
    said = os.environ.get(SWITCH, "").strip()
    if not said:
        return None
    if said.isascii() and said.isdecimal() and int(said[:10]):
        return int(said[:10])
    raise ClapError(f"{SWITCH}={shown(said)}: give a whole number of threads, at least 1.")


def engine_threads(threads: int | None) -> int:
    """Threads for an engine: those asked for; else 0, for its own choice, unless this process may
    use fewer cores than the machine has: engines look at the machine alone."""
    if threads is not None:
        return threads
    cores = usable_cores()
    return cores if cores < (os.cpu_count() or 1) else 0


def cgroup_limit(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> float | None:
    """Cores' worth of CPU time that the control group of this process is given, if it is limited.

    Args:
        root: where control groups are mounted.
        membership: file that names the groups of this process.
    """
    limits: list[float] = []
    with contextlib.suppress(OSError, ValueError):
        for line in membership.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:  # version 2: one hierarchy
                read, base = _version_2, root
            elif "cpu" in controllers.split(","):
                read, base = _version_1, root / "cpu"
            else:
                continue
            # A limit of any group above holds as well. In a container the path may be the host's,
            # which is not to be seen from inside: what is mounted is then the group itself.
            group = base / path.lstrip("/")
            for folder in (group, *group.parents):
                if folder.is_relative_to(base):
                    with contextlib.suppress(OSError, ValueError):
                        limits += read(folder)
    return min(limits, default=None)


def _version_2(folder: Path) -> list[float]:
    quota, period = (folder / "cpu.max").read_text().split()
    return [] if quota == "max" else [int(quota) / int(period)]


def _version_1(folder: Path) -> list[float]:
    quota = int((folder / "cpu.cfs_quota_us").read_text())
    period = int((folder / "cpu.cfs_period_us").read_text())
    return [] if quota <= 0 else [quota / period]
