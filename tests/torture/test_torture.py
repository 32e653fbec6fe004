"""A short form of `python -m tests.torture`: every reader and writer, a few inputs each."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.torture import faults, fuzz, guided, load, report
from tests.torture.__main__ import steady
from tests.torture.found import CORPUS, FOUND, count, kept
from tests.torture.readers import READERS
from tests.torture.writers import WRITERS

SHORT = 20
QUICK = ("label bank", "manifest", "signature", "training's journal")  # the others take minutes


@pytest.mark.parametrize("name", READERS)
def test_damaged_inputs_are_refused_or_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Other tests are run meanwhile, and their machine may stand still for seconds.
    monkeypatch.setattr(fuzz, "SLOW", 30.0)
    monkeypatch.setattr(fuzz, "HANG", 120.0)
    found = fuzz.fuzz(name, SHORT, tmp_path, seed=1)
    assert found.passed, found.problems
    assert found.outcomes.total() == count(name) + SHORT
    assert found.outcomes["refused"] > len(FOUND.get(name, ())), "no input was damaged enough"


def test_what_is_kept_is_of_a_reader_and_small() -> None:
    folders = [path for path in CORPUS.iterdir() if path.is_dir()]
    files = [path for name in READERS for path in kept(name)]
    assert sum(len(list(folder.iterdir())) for folder in folders) == len(files)
    assert all(path.stat().st_size <= 1 << 16 for path in files)


def assert_whole(injected: list[faults.Injected]) -> None:
    for found in injected:
        assert not found.problems
        assert found.faults >= (3 if found.name in ("export", "precision") else 10)
        assert found.old


def test_a_writer_that_is_disturbed_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    assert_whole(faults.run(10, tmp_path, QUICK))


@pytest.mark.slow
def test_a_long_writer_that_is_disturbed_does_too(tmp_path: Path) -> None:
    assert_whole(faults.run(12, tmp_path, [name for name in WRITERS if name not in QUICK]))


def test_writers_that_are_careless_are_found_out(tmp_path: Path) -> None:
    found = {one.name: one for one in faults.run(40, tmp_path, module="tests.torture.careless")}
    problems = {name: " ".join(one.problems) for name, one in found.items()}
    assert "torn: neither the old nor the new" in problems["in_place"]
    assert "left ['file.part']" in problems["litters"]
    assert "OSError: [Errno 28] No space left on device" in problems["escapes"]
    assert "said to be done, and is not" in problems["silent"]
    assert all(one.faults == 40 for one in found.values())


def test_long_use_leaves_nothing_behind(tiny_bundle: Path) -> None:
    """In a process of its own: here a thread or a file of another test may end meanwhile."""
    own = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, own) as pool:
        for found in (
            pool.submit(load.predict_for_long, tiny_bundle, 600).result(),
            pool.submit(load.share_for_long, tiny_bundle, 16, 2.0).result(),
        ):
            assert steady(found), found


def test_what_grows_with_use_is_not_steady() -> None:
    same = load.Load(10, 2, 1.0, 0.5, 7, (20.0, 30.0, 25.0, 31.0), 0, 0, 0)
    assert steady(same)
    for change in (
        {"grown_mib": 1.5}, {"grown_objects": 20_000}, {"sizes_mib": (1.0, 10.0, 20.0, 40.0)},
        {"descriptors": 1}, {"new_threads": 1}, {"different": 1},
    ):  # fmt: skip
        assert not steady(replace(same, **change))


def test_the_page_gets_the_figures() -> None:
    page = "".join(f"<!-- {name} -->\nold\n<!-- /{name} -->\n" for name in report.PARTS)
    made = {"commit": "abc", "cpu": "a CPU", "cores": 2, "load": 9.5}
    wav = {"name": "wav", "outcomes": {"refused": 3}, "slowest": 0.5, "largest": 1 << 21}
    opus = {"name": "opus", "outcomes": {"accepted": 2000}, "slowest": 0.1, "largest": 0}
    used = vars(load.Load(10, 2, 1.0, 0.5, 7, (1.0, 2.0), 0, 0, 0))
    log = "#2 INITED cov: 7 ft: 9\n#40 NEW cov: 12 ft: 20\nDone 41 runs in 3 second(s)\n"
    found = {
        "readers": {"rows": [wav, {**opus, "made": made}]},
        "guided": {"rows": [vars(guided.Guided.of("wav", log, 0))]},
        "writers": {"rows": [vars(faults.Injected("bank", 40, 10, 36, 4))]},
        "load": {"rows": [{"name": "x", **used}]},
    }
    page = report.written(page, found)
    for line in (
        "| wav | 0 | 3 | 0 | 0 | 0 | 0.50 s | 2 MiB |",
        "| all 2,003 | 2,000 | 3 | 0 | 0 | 0 | 0.50 s | 2 MiB |",
        "Commit abc on a CPU, 2 cores with other work.",
        "| wav | 3 s | 41 | 12 | 0 |",
        "| bank | 10 | 40 | 36 | 4 | 0 |",
        "| 10 | 2 | 1 s | +0.50 MiB | +7 | +1 +2 | +0 | +0 | 0 |",
    ):
        assert line in page.splitlines()
    assert "old\n" not in page


def test_a_guided_run_that_crashed_is_one_that_found_something() -> None:
    log = "#2 INITED cov: 7 ft: 9\n === Uncaught Python exception: ===\nKeyError: 'x'\n"
    crashed = guided.Guided.of("wav", log, 77)
    assert crashed.found == 1
    assert "KeyError" in crashed.said
    with pytest.raises(RuntimeError, match="was not fuzzed: No module named 'atheris'"):
        guided.Guided.of("wav", "No module named 'atheris'", 1)
