"""A run of the tests fails when an engine that was expected to run never did, in any worker."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.places import ROOT

TESTS = (
    "tests/runtime/backends/test_backends.py::test_runs_a_path_and_bytes_alike",
    "tests/runtime/backends/test_openvino.py::test_results_are_not_overwritten_by_the_next_run",
)


@pytest.mark.slow
def test_engines_are_counted_over_all_workers() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *TESTS],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "CLAP_EXPECT_BACKENDS": "cpu openvino abacus"},
    )  # fmt: skip
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    assert "expected backends that never ran: abacus\n" in done.stdout
    assert done.returncode == 1
