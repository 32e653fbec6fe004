"""How many threads suit this process."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Cores that this process may run on, at least 1: fewer than the machine's where an affinity
    (taskset, SLURM, a container's cpuset) says so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1
