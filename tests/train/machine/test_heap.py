"""Freed memory is used again without the system."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from tests.places import ROOT

# Page faults of the second block of 64 MB, the first having been freed.
FAULTS = """
import resource, sys
from train.machine.heap import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else False
import numpy
numpy.ones(1 << 23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
numpy.ones(1 << 23)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")


def faults(argument: str, **variables: str) -> tuple[bool, int]:
    """Whether memory is kept, and page faults."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, argument], cwd=ROOT, capture_output=True, text=True,
        check=True, env=environment | {"PYTHONPATH": str(ROOT), **variables},
    )  # fmt: skip
    kept, count = done.stdout.split()
    return kept == "True", int(count)


@glibc
def test_freed_memory_is_used_again() -> None:
    kept, count = faults("keep")
    assert kept
    assert count < 100  # of 16,384 pages


@glibc
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MALLOC_TRIM_THRESHOLD_", "131072"),
        ("MALLOC_MMAP_MAX_", "65536"),
        ("GLIBC_TUNABLES", "glibc.malloc.mmap_max=65536"),
    ],
)
def test_what_the_user_chose_stays(name: str, value: str) -> None:
    kept, _ = faults("keep", **{name: value})
    assert not kept
