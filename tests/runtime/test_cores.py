"""Cores that a process may use: affinity, and the limits of containers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime import Classifier, cores
from runtime.backends import open_backend
from runtime.backends.ort import OrtBackend
from tests.tiny.bundle import LABELS, RATE, clip


def version_2(tmp_path: Path, limits: dict[str, str], group: str) -> float | None:
    for folder, text in limits.items():
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "cpu.max").write_text(text)
    (tmp_path / "membership").write_text(f"0::{group}\n")
    return cores.cgroup_limit(tmp_path, tmp_path / "membership")


@pytest.mark.parametrize(
    ("limits", "group", "found"),
    [
        ({".": "150000 100000\n"}, "/", 1.5),
        ({"a/b": "max 100000\n", "a": "200000 100000\n"}, "/a/b", 2),
        ({"a/b": "400000 100000\n", "a": "200000 100000\n"}, "/a/b", 2),
        ({"a/b": "50000 100000\n", "a": "max 100000\n"}, "/a/b", 0.5),
        ({"a": "max 100000\n"}, "/a", None),
        ({}, "/a", None),
        ({".": "300000 100000\n"}, "/docker/0123", 3),  # the host's path, seen from inside
        ({".": "nonsense\n"}, "/", None),
    ],
)
def test_control_groups(
    tmp_path: Path, limits: dict[str, str], group: str, found: float | None
) -> None:
    assert version_2(tmp_path, limits, group) == found


def test_control_groups_of_the_first_version(tmp_path: Path) -> None:
    group = tmp_path / "cpu" / "docker" / "0"
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text("250000\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "membership").write_text("5:memory:/docker/0\n4:cpu,cpuacct:/docker/0\n")
    assert cores.cgroup_limit(tmp_path, tmp_path / "membership") == 2.5
    (group / "cpu.cfs_quota_us").write_text("-1\n")
    assert cores.cgroup_limit(tmp_path, tmp_path / "membership") is None
    assert cores.cgroup_limit(tmp_path, tmp_path / "nothing") is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_affinity_and_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.sched_getaffinity(0)
    monkeypatch.setattr(cores, "cgroup_limit", lambda: None)
    assert cores.usable_cores() == len(before)
    assert cores.engine_threads(3) == 3
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores.usable_cores() == 1
        assert cores.engine_threads(None) == (1 if os.cpu_count() != 1 else 0)
    finally:
        os.sched_setaffinity(0, before)
    monkeypatch.setattr(cores, "cgroup_limit", lambda: 0.3)
    assert cores.usable_cores() == 1
    monkeypatch.setattr(cores, "cgroup_limit", lambda: 1e6)
    assert cores.usable_cores() == len(before)


# What suits many files


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Threads of each engine that is opened, and ``-1`` for each that is closed."""
    seen: list[int] = []
    make, close = OrtBackend.__init__, OrtBackend.close

    def spy(self: OrtBackend, model: object, providers: object, threads: object, *rest: object):
        seen.append(threads or 0)  # type: ignore[arg-type]
        make(self, model, providers, threads, *rest)  # type: ignore[arg-type]

    def closing(self: OrtBackend) -> None:
        seen.append(-1)
        close(self)

    monkeypatch.setattr(OrtBackend, "__init__", spy)
    monkeypatch.setattr(OrtBackend, "close", closing)
    monkeypatch.setattr("runtime.encoder.usable_cores", lambda: 3)
    return seen


def test_many_files_are_given_an_engine_of_one_thread(tiny_bundle: Path, opened: list[int]) -> None:
    with Classifier(tiny_bundle, LABELS) as made:
        opened.clear()
        many = [clip(i) for i in range(7)]
        found = list(made.predict_many(iter(many), RATE))
        assert opened == [-1, 1]  # in place of the one that had not been used
        assert list(made.predict_many(many, RATE)) == found
        assert opened == [-1, 1]
        expected = [made.predict(each, RATE) for each in many]
        assert opened == [-1, 1, 0]  # now both are of use, and stay
        list(made.predict_many(many, RATE))
        assert opened == [-1, 1, 0]
        assert [r.predictions for r in found] == [pytest.approx(e) for e in expected]


def test_few_files_and_given_threads_are_not(tiny_bundle: Path, opened: list[int]) -> None:
    with Classifier(tiny_bundle, LABELS) as made:
        opened.clear()
        assert len(list(made.predict_many([clip(i) for i in range(6)], RATE))) == 6
        assert len(list(made.predict_many([clip(0)] * 9, RATE, parallel=1))) == 9
        assert opened == []
    with Classifier(tiny_bundle, LABELS, threads=2) as made:
        opened.clear()
        assert len(list(made.predict_many([clip(0)] * 20, RATE))) == 20
        assert len(list(made.predict_many([clip(0)] * 20, RATE, parallel=2))) == 20
        assert opened == []


def test_what_an_engine_is_like_is_said_by_itself(tiny_bundle: Path) -> None:
    backend = open_backend(tiny_bundle / "audio.onnx")
    assert (backend.takes_int16, backend.on_gpu, backend.one_thread_each) == (False, False, True)
    backend.close()
