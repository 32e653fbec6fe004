"""Memory that a process can still take, under the limits of containers and schedulers too."""

from __future__ import annotations

from pathlib import Path

import psutil

# Files of a control group: its limit, what it uses, and the key in memory.stat of the file cache
# that the kernel gives up first (Linux' admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst).
_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def free_memory(
    groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> int:
    """Bytes: what is available on the machine, or less if a control group of the process is nearer
    to its limit.

    Args:
        groups: where the control groups are mounted.
        own: names the groups of the process.
    """
    free = [psutil.virtual_memory().available]
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top, names = groups, _V2
        elif "memory" in controllers.split(","):
            top, names = groups / "memory", _V1
        else:
            continue
        # In a container the path may be the host's, of which only the top is to be seen.
        place = top / path.lstrip("/")
        free += [
            _left(folder, names) for folder in (place, *place.parents) if folder.is_relative_to(top)
        ]
    return max(0, min(free))


def _left(folder: Path, names: tuple[str, str, str]) -> int:
    """Bytes below a group's limit; as good as endless where there is none."""
    limit, usage, cache = names
    try:
        most = int((folder / limit).read_text())
        used = int((folder / usage).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # the root has no limit, and "max" says that there is none
        return 2**63
    return most - used + int(stat.get(cache, 0))
