"""The benchmark's processes: another interpreter answers, and errors are said."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from clap_export.bench import process
from runtime.errors import ClapError
from tests.places import ROOT


class Adder:
    """Something to ask."""

    def __init__(self, base: int) -> None:
        if base < 0:
            raise ClapError("a base below 0 was given.")
        self._base = base

    def add(self, more: np.ndarray) -> np.ndarray:
        print("this must not get among the answers")
        return self._base + more


def test_a_process_of_another_interpreter_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with process.Process(Adder, 3, python=Path(sys.executable)) as made:
        assert made.ask("add", np.arange(3)).tolist() == [3, 4, 5]
        assert made.ask("add", np.zeros(1)).tolist() == [3.0]


def test_why_nothing_could_be_opened_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with (
        process.Process(Adder, -1) as made,
        pytest.raises(ClapError, match="a base below 0 was given"),
    ):
        made.ask("add", 1)
    with pytest.raises(ClapError, match="'nowhere/python' cannot be run as a Python"):
        process.Process(Adder, 1, python=Path("nowhere/python"))
