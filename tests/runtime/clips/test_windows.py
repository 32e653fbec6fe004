"""Windows of every length: no sample lost, none padded that need not be."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from runtime.clips import windows
from runtime.clips.clip import Clip
from runtime.clips.policy import Policy
from tests.tiny import bundle as tinybundle

SPEC = tinybundle.MANIFEST.audio


@pytest.mark.parametrize(
    ("n", "window", "hop", "expected"),
    [
        (1, 10, 10, [0]),
        (10, 10, 10, [0]),
        (11, 10, 10, [0, 1]),
        (20, 10, 10, [0, 10]),
        (25, 10, 10, [0, 10, 15]),
        (25, 10, 5, [0, 5, 10, 15]),
        (26, 10, 5, [0, 5, 10, 15, 16]),
        (12, 10, 1, [0, 1, 2]),
    ],
)
def test_starts(n: int, window: int, hop: int, expected: list[int]) -> None:
    assert windows.starts(n, window, hop).tolist() == expected


def test_every_sample_is_covered_for_all_lengths() -> None:
    for window, hop in ((7, 7), (7, 3), (5, 1), (1, 1)):
        for n in range(1, 60):
            starts = windows.starts(n, window, hop)
            covered = np.zeros(n, bool)
            for start in starts:
                covered[start : start + window] = True
            assert covered.all(), (n, window, hop)
            assert (np.diff(starts) > 0).all()
            assert n <= window or starts[-1] + window == n
            # No window more than the grid needs: each one but the last is on it.
            assert (starts[:-1] % hop == 0).all()


@pytest.mark.parametrize("bad", [(0, 5, 5), (5, 0, 5), (5, 5, 0)])
def test_starts_refuses_nothing(bad: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        windows.starts(*bad)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("repeat", [1, 2, 3, 1, 2, 3, 1, 2]),
        ("repeatpad", [1, 2, 3, 1, 2, 3, 0, 0]),
        ("pad", [1, 2, 3, 0, 0, 0, 0, 0]),
    ],
)
def test_fill(rule: str, expected: list[float]) -> None:
    result = windows.fill(np.array([1, 2, 3], np.float32), 8, rule)
    assert result.dtype == np.float32
    assert result.tolist() == expected


def test_fill_of_a_whole_window_changes_nothing() -> None:
    clip = np.arange(8, dtype=np.float32)
    for rule in ("repeat", "repeatpad", "pad"):
        assert np.array_equal(windows.fill(clip, 8, rule), clip)


def test_fill_refuses() -> None:
    with pytest.raises(ValueError, match="cannot be filled"):
        windows.fill(np.zeros(9, np.float32), 8, "pad")
    with pytest.raises(ValueError, match="cannot be filled"):
        windows.fill(np.zeros(0, np.float32), 8, "pad")
    with pytest.raises(ValueError, match="unknown fill rule"):
        windows.fill(np.zeros(3, np.float32), 8, "mirror")


@pytest.mark.parametrize("n", [1, 3000, 8000, 8001, 20000, 24000])
@pytest.mark.parametrize("hop", [None, 3000])
def test_cut_copies_the_right_stretches(n: int, hop: int | None) -> None:
    clip = np.random.default_rng(n).standard_normal(n).astype(np.float32)
    result, starts = windows.cut(clip, SPEC, hop)
    assert result.shape == (len(starts), SPEC.window_samples)
    assert result.dtype == np.float32
    for window, start in zip(result, starts, strict=True):
        for i in (0, 1, 2999, 4321, SPEC.window_samples - 1):
            assert window[i] == clip[(start + i) % n]  # repeat: a short clip starts again
    result[:] = 0  # a copy: the clip is not touched
    assert clip.any()


def test_cut_uses_the_spec_rule() -> None:
    spec = dataclasses.replace(SPEC, fill="pad")
    result, _ = windows.cut(np.ones(100, np.float32), spec)
    assert result.sum() == 100


def test_batches_are_cut_in_pieces() -> None:
    clip = np.random.default_rng(0).standard_normal(30_000).astype(np.float32)
    whole, starts = windows.cut(clip, SPEC, 1000)
    policy = Policy("every", hop=1000 / SPEC.sample_rate)
    with Clip(clip, SPEC.sample_rate, SPEC, policy, math.inf) as opened:
        pieces = list(opened.pieces(5))
    assert [len(p) for p in pieces] == [5, 5, 5, 5, 3]
    assert [start for p in pieces for start in p.starts] == starts.tolist()
    assert np.array_equal(np.concatenate([p.rows for p in pieces]), whole)
