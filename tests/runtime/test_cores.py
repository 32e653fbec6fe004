"""Cores that a process may use: affinity, and the limits of containers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from runtime import Classifier, cores
from runtime.backends import open_backend
from runtime.backends.ort import OrtBackend
from runtime.errors import ClapError
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


def test_the_environment_may_allow_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "cgroup_limit", lambda: None)
    found = cores.usable_cores()
    for said, most in (("1", 1), (" 2 ", 2), ("9999999999999", found), ("", found)):
        monkeypatch.setenv("CLAP_THREADS", said)
        assert cores.usable_cores() == min(found, most)
    for said in ("0", "-1", "two", "1.5", "٣"):
        monkeypatch.setenv("CLAP_THREADS", said)
        with pytest.raises(ClapError, match=r"CLAP_THREADS=.*at least 1"):
            cores.usable_cores()


COUNTED = """
import json, os, sys, time
import numpy, onnxruntime, soundfile, soxr, tokenizers
from runtime import Classifier

def threads():
    return len(os.listdir("/proc/self/task"))

before = threads()
with Classifier(sys.argv[1], ["dog", "rain"]) as made:
    made.predict(sys.argv[2])
    time.sleep(0.02)  # for what ends
    start = time.process_time()
    time.sleep(0.5)
    idle = time.process_time() - start
    one = threads() - before
    most = 0
    for _ in made.predict_many([sys.argv[2]] * 12):
        most = max(most, threads() - before)
print(json.dumps([one, most, idle]))
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are not listed here")
@pytest.mark.parametrize("cap", ["1", ""])
def test_threads_of_a_process_and_what_it_does_when_idle(
    tiny_bundle: Path, tmp_path: Path, cap: str
) -> None:
    """Decoding, resampling, tokenising and the engine: all of them, whoever starts a thread."""
    sf.write(tmp_path / "a.flac", np.sin(np.arange(44_100) / 9), 44_100)
    command = [sys.executable, "-c", COUNTED, str(tiny_bundle), str(tmp_path / "a.flac")]
    environment = {**os.environ, "CLAP_THREADS": cap}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    one, most, idle = json.loads(done.stdout)
    allowed = 1 if cap else cores.usable_cores()
    assert one <= allowed - 1  # beside the main thread
    # Files are heard by as many threads as there are cores, with engines of one thread, and by one
    # more that decodes; where there is one core, the next files are decoded while a batch is run.
    assert most <= 2 * allowed
    assert idle < 0.01  # of half a second


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
    for module in ("loaded_bundle", "pipeline"):
        monkeypatch.setattr(f"runtime.{module}.usable_cores", lambda: 3)
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
    assert (backend.takes_int16, backend.on_gpu, backend.one_thread_each_from) == (False, False, 0)
    backend.close()
