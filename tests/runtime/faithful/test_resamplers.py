"""The originals' resamplers against their formulas, their packages, and themselves in blocks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.audio.faithful import Kind, resampler

RATES = (8_000, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 37_000)


def noise(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, round(seconds * rate)).astype(np.float32)


def whole(kind: Kind, samples: np.ndarray, rate: int, target: int) -> np.ndarray:
    made = resampler(kind, rate, target)
    return np.concatenate([made.push(samples), made.finish()])


def sinc_hann(samples: np.ndarray, rate: int, target: int) -> np.ndarray:
    """y(t) = sum of x[i] h(i / rate - t) in float64, one output sample after the other."""
    cutoff = 0.99 * min(rate, target)  # twice the filter's corner, as the zero crossings lie
    found = []
    for j in range(math.ceil(len(samples) * target / rate)):
        middle, reach = round(j * rate / target), round(6 * rate / cutoff) + 2
        near = np.arange(max(0, middle - reach), min(len(samples), middle + reach))
        t = (near / rate - j / target) * cutoff
        window = np.where(np.abs(t) < 6, np.cos(np.pi * t / 12) ** 2, 0.0)
        found.append((samples[near] * np.sinc(t) * window).sum() * cutoff / rate)
    return np.array(found)


@pytest.mark.parametrize("target", [44_100, 48_000])
@pytest.mark.parametrize("rate", RATES)
def test_torchaudios_is_the_windowed_sinc(rate: int, target: int) -> None:
    samples = noise(0.02, rate)
    if rate == target:
        pytest.skip("nothing is resampled")
    found = whole("torchaudio", samples, rate, target)
    wanted = sinc_hann(samples.astype(np.float64), rate, target)
    assert found.dtype == np.float32
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 5e-5  # it rounds the outputs' places to float32


@pytest.mark.parametrize("rate", RATES)
def test_torchaudios_is_torchaudios(rate: int) -> None:
    torchaudio = pytest.importorskip("torchaudio")
    import torch

    for seconds in (1 / 441, 0.3, 1.0):
        samples = noise(seconds, rate)
        wanted = torchaudio.transforms.Resample(rate, 44_100)(torch.from_numpy(samples)).numpy()
        found = whole("torchaudio", samples, rate, 44_100)
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() < 1e-6


def test_rates_without_a_common_divisor_take_no_more_memory_than_others() -> None:
    """As one matrix, the weights of all phases would have two milliard entries here."""
    samples = noise(0.02, 44_101)
    found = whole("torchaudio", samples, 44_101, 44_100)
    wanted = sinc_hann(samples.astype(np.float64), 44_101, 44_100)
    assert np.abs(found - wanted).max() < 2e-4


def test_torchaudios_lets_through_what_ours_removes() -> None:
    """A tone at 7.8 kHz, of a file at 16 kHz, has its image at 8.2 kHz."""
    rate, target = 16_000, 44_100
    tone = np.sin(2 * np.pi * 7_800 * np.arange(rate) / rate).astype(np.float32)
    levels = {}
    for kind in ("torchaudio", "soxr"):
        found = whole(kind, tone, rate, target)[4_000:-4_000]
        power = np.abs(np.fft.rfft(found * np.hanning(len(found)))) ** 2
        hertz = np.fft.rfftfreq(len(found), 1 / target)
        image = power[(hertz > 8_100) & (hertz < 8_300)].sum()
        levels[kind] = 10 * np.log10(image / power.sum())
    assert levels["torchaudio"] > -10
    assert levels["soxr"] < -80


@pytest.mark.parametrize("rate", RATES)
def test_librosas_is_soxr_and_as_long_as_a_float_says(rate: int) -> None:
    for seconds in (0.1, 0.33, 1.0):
        samples = noise(seconds, rate)
        found = whole("librosa", samples, rate, 48_000)
        plain = soxr.resample(samples, rate, 48_000, "HQ")
        length = math.ceil(len(samples) * (48_000.0 / rate))
        assert len(found) == length
        assert np.array_equal(found[: len(plain)], plain[:length])
        assert not found[len(plain) :].any()


def test_five_seconds_at_44100_hz_are_a_sample_more() -> None:
    """librosa 0.10.2 gives 240,001; an exact product would be 240,000."""
    assert len(whole("librosa", np.ones(220_500, np.float32), 44_100, 48_000)) == 240_001
    assert len(whole("soxr", np.ones(220_500, np.float32), 44_100, 48_000)) == 240_000


@pytest.mark.parametrize("kind", ["soxr", "torchaudio", "librosa"])
def test_equal_rates_change_nothing(kind: Kind) -> None:
    samples = noise(0.1, 44_100)
    assert np.array_equal(whole(kind, samples, 44_100, 44_100), samples)


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["torchaudio", "librosa"]),
    rate=st.sampled_from([r for r in RATES if r != 44_100]),
    sizes=st.lists(st.integers(1, 700), min_size=1, max_size=12),
)
def test_blocks_of_any_size_give_the_whole(kind: Kind, rate: int, sizes: list[int]) -> None:
    samples = noise(sum(sizes) / rate, rate)
    made, at, found = resampler(kind, rate, 44_100), 0, []
    for size in sizes:
        found.append(made.push(samples[at : at + size]))
        at += size
    found.append(made.finish())
    wanted = whole(kind, samples, rate, 44_100)
    joined = np.concatenate(found)
    assert joined.shape == wanted.shape
    tolerance = 0.0 if kind == "librosa" else 1e-6
    assert np.abs(joined - wanted).max(initial=0.0) <= tolerance


def test_a_sample_at_a_time() -> None:
    samples = noise(0.01, 32_000)
    made = resampler("torchaudio", 32_000, 44_100)
    found = [made.push(samples[i : i + 1]) for i in range(len(samples))]
    joined = np.concatenate([*found, made.finish()])
    assert np.abs(joined - whole("torchaudio", samples, 32_000, 44_100)).max() < 1e-6


def test_seven_minutes_are_a_sample_less_where_torchaudio_rounds_so() -> None:
    """torchaudio 2.11 gave 18,375,000 samples: it rounds 18,375,000.9 to a float32 first."""
    made, block = resampler("torchaudio", 48_000, 44_100), np.zeros(1 << 18, np.float32)
    pushed = [min(len(block), 20_000_001 - at) for at in range(0, 20_000_001, len(block))]
    count = sum(len(made.push(block[:size])) for size in pushed)
    assert count + len(made.finish()) == 18_375_000


def test_what_is_held_does_not_grow() -> None:
    made = resampler("torchaudio", 48_000, 44_100)
    block = noise(1.0, 48_000)
    held = []
    for _ in range(20):
        made.push(block)
        held.append(made._held.nbytes)
    assert max(held) < 4 * (160 + 2 * 7 + 160)
