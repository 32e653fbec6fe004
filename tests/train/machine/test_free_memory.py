"""Free memory under limits of control groups, in made trees of both versions."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from train.machine.free_memory import free_memory

V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = ("memory.max", "memory.current", "inactive_file")


def group(folder: Path, names: tuple[str, str, str], limit: str, used: int, cache: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {cache}\n")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tmp_path / "own"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    free = type("Free", (), {"available": 10_000})
    monkeypatch.setattr(psutil, "virtual_memory", free)


def test_the_nearest_limit_counts(tmp_path: Path, own: Path) -> None:
    """A job's step has no limit, the job above it has; file cache can be given up."""
    own.write_text("0::/slurm/job_7/step_0\n")
    group(tmp_path / "slurm/job_7/step_0", V2, "max", 900, 0)
    group(tmp_path / "slurm/job_7", V2, "4000", 1500, 300)
    group(tmp_path / "slurm", V2, "9000", 2000, 0)
    assert free_memory(tmp_path, own) == 4000 - 1500 + 300


def test_in_a_container_the_top_is_its_own(tmp_path: Path, own: Path) -> None:
    own.write_text("0::/docker/0123abcd\n")  # the host's path, which is not to be seen inside
    group(tmp_path, V2, "3000", 1000, 0)
    assert free_memory(tmp_path, own) == 2000


def test_version_1_has_a_tree_for_memory(tmp_path: Path, own: Path) -> None:
    own.write_text("5:cpu,cpuacct:/a\n4:memory:/a\n")
    group(tmp_path / "memory/a", V1, "3000", 2900, 50)
    group(tmp_path / "cpu,cpuacct/a", V1, "1", 0, 0)
    assert free_memory(tmp_path, own) == 150


def test_the_machine_counts_where_no_limit_is_nearer(tmp_path: Path, own: Path) -> None:
    assert free_memory(tmp_path, own) == 10_000  # not Linux
    own.write_text("0::/\n")
    assert free_memory(tmp_path, own) == 10_000  # no limits
    group(tmp_path, V2, "90000", 100, 0)
    assert free_memory(tmp_path, own) == 10_000


def test_above_the_limit_nothing_is_left(tmp_path: Path, own: Path) -> None:
    own.write_text("0::/\n")
    group(tmp_path, V2, "100", 400, 0)
    assert free_memory(tmp_path, own) == 0
