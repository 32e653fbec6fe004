"""Programs that some tests need: without one they skip, or fail where it is expected."""

from __future__ import annotations

import os

import pytest


def expected(program: str) -> bool:
    """Whether ``CLAP_EXPECT_PROGRAMS`` names it: then its absence is a fault of the machine."""
    return program in os.environ.get("CLAP_EXPECT_PROGRAMS", "").split()


def without(program: str, why: str) -> None:
    """End a test that cannot run here."""
    if expected(program):
        pytest.fail(f"{program} is expected here: {why}")
    pytest.skip(why)
