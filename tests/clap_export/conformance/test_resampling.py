"""The limits of ``resample`` let a filter of soxr's class pass, and no lesser one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soxr

from clap_export.conformance import compare, kit
from clap_export.conformance.kit import Case
from runtime.conformance import wire

# What docs/conformance.md says of the filter, in parts of the lower Nyquist frequency.
PASSED, STOPPED = 0.913, 1.0


def windowed_sinc(x: np.ndarray, own: int, to: int) -> np.ndarray:
    """As the page describes it, a tap at a time: a Kaiser window of 120 dB, linear phase."""
    low, beta = min(own, to), 0.1102 * (120 - 8.7)
    cut = (PASSED + STOPPED) / 4 * low / own  # in cycles a sample
    half = (120 - 7.95) / (2.285 * 2 * np.pi * (STOPPED - PASSED) / 2 * low / own) / 2
    at = np.arange(int(np.floor(len(x) * to / own + 0.5))) * own / to
    result = np.zeros(len(at))
    for shift in range(-int(half) - 1, int(half) + 2):
        near = np.floor(at).astype(int) + shift
        away = near - at
        window = np.i0(beta * np.sqrt(np.maximum(0, 1 - (away / half) ** 2))) / np.i0(beta)
        inside = (near >= 0) & (near < len(x)) & (np.abs(away) <= half)
        weight = 2 * cut * np.sinc(2 * cut * away) * window
        result[inside] += (weight * x[np.clip(near, 0, len(x) - 1)])[inside]
    return result.astype(np.float32)


def linear(x: np.ndarray, own: int, to: int) -> np.ndarray:
    """A straight line from sample to sample."""
    n = int(np.floor(len(x) * to / own + 0.5))
    return np.interp(np.arange(n) * own / to, np.arange(len(x)), x).astype(np.float32)


def late(x: np.ndarray, own: int, to: int) -> np.ndarray:
    """The right filter, with a delay of a tenth of a sample."""
    n = len(soxr.resample(x, own, to, quality="HQ"))
    fine = soxr.resample(x, own, 10 * to, quality="HQ")
    return np.concatenate([[0], fine])[: 10 * n : 10].astype(np.float32)


def coarse(x: np.ndarray, own: int, to: int) -> np.ndarray:
    """soxr's quickest filter."""
    return soxr.resample(x, own, to, quality="QQ")


@pytest.fixture(scope="module")
def asked(kit_folder: Path) -> list[tuple[Case, np.ndarray]]:
    """Cases that change the rate, and their samples."""
    cases = [c for c in kit.read(kit_folder).cases if c.task == "resample" and c.expected]
    return [
        (case, wire.to_array(case.input["samples"], kit_folder))
        for case in cases
        if case.input["rate"] != case.input["to"]
    ]


def off(
    asked: list[tuple[Case, np.ndarray]], kit_folder: Path, filtered: Callable[..., np.ndarray]
) -> dict[str, float]:
    """By how many times its limit a filter is off, case by case."""
    found = {}
    for case, samples in asked:
        answer = filtered(samples, case.input["rate"], case.input["to"])
        outputs = {"samples": wire.to_wire(answer)}
        distances, _ = compare.outputs(case, outputs, kit_folder)
        found[case.id] = distances["samples"].share
    return found


def test_a_filter_of_the_same_class_passes(
    asked: list[tuple[Case, np.ndarray]], kit_folder: Path
) -> None:
    shares = off(asked, kit_folder, windowed_sinc)
    assert len(shares) > 20
    assert {name: share for name, share in shares.items() if share > 1} == {}


@pytest.mark.parametrize("filtered", [linear, coarse, late])
def test_lesser_filters_fail(
    asked: list[tuple[Case, np.ndarray]], kit_folder: Path, filtered: Callable[..., np.ndarray]
) -> None:
    """Clearly, by the sound or by the noise of each pair of rates: what has nothing above the lower
    Nyquist frequency, as a sound, may be halved by leaving out every second sample."""
    shares = off(asked, kit_folder, filtered)
    pairs = {name.split("/")[1] for name in shares if name.endswith("/sound")}
    assert len(pairs) == 8
    for pair in pairs:
        worst = max(shares[f"resample/{pair}/{kind}"] for kind in ("sound", "noise"))
        assert worst > 5, pair


@pytest.mark.parametrize(("own", "to"), [(44_100, 16_000), (16_000, 44_100), (48_000, 24_000)])
def test_the_page_describes_the_filter(own: int, to: int) -> None:
    """Measured on soxr: tones pass, or are stopped, without delay, and lengths are as said."""
    low, n = min(own, to), own // 2

    def gain(frequency: float) -> tuple[float, float]:
        """Of a tone in dB, and its phase's error in samples of the result."""
        t = np.arange(n) / own
        tone = np.cos(2 * np.pi * frequency * t) * np.hanning(n)
        found = soxr.resample(tone, own, to, quality="HQ").astype(np.float64)
        u = np.arange(len(found)) / to
        wave = np.exp(-2j * np.pi * frequency * u)
        want = np.interp(u, t, np.hanning(n)).sum() / 2
        value = (found @ wave) / want
        return 20 * np.log10(abs(value)), np.angle(value) / (2 * np.pi * frequency) * to

    for share in (0.01, 0.3, 0.7, PASSED):
        level, delay = gain(share * low / 2)
        assert abs(level) < 0.01, share
        assert abs(delay) < 1e-3, share
    if to < own:
        for share in (STOPPED + 0.01, 1.3, 0.98 * own / low):
            tone = np.sin(2 * np.pi * share * low / 2 * np.arange(n) / own) * np.hanning(n)
            found = soxr.resample(tone, own, to, quality="HQ")
            assert 20 * np.log10(np.abs(found).max()) < -115, share
    for count in (1, 2, 3, 5, 1000, 1001):
        length = len(soxr.resample(np.zeros(count, np.float32), own, to, quality="HQ"))
        assert length == (2 * count * to + own) // (2 * own)
