"""Bars do not mix with what a command prints."""

from __future__ import annotations

import pytest

from train.machine.progress import track


def test_items_pass_and_stdout_stays_clean(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(iter("abc"), "three letters", total=3)) == ["a", "b", "c"]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "three letters" in printed.err
