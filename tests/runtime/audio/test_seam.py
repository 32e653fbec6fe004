"""Where another decoder goes on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.audio.seam import SLACK, Seam

rng = np.random.default_rng(3)
SOUND = rng.uniform(-0.5, 0.5, (60_000, 2)).astype(np.float32)


def cut(samples: np.ndarray, size: int) -> list[np.ndarray]:
    return [samples[at : at + size] for at in range(0, len(samples), size)]


def behind(
    given_out: np.ndarray, other: np.ndarray, one: int, two: int, least: int = 0
) -> np.ndarray:
    seam = Seam()
    for block in cut(given_out, one):
        seam.add(block)
    found = list(seam.behind(cut(other, two), least))
    return np.concatenate(found) if found else np.empty((0, other.shape[1]), np.float32)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 50_000), st.integers(1, 70_000), st.integers(1, 70_000))
def test_the_same_samples_go_on_exactly(count: int, one: int, two: int) -> None:
    assert np.array_equal(behind(SOUND[:count], SOUND, max(one, 20), max(two, 20)), SOUND[count:])


@pytest.mark.parametrize("later", [-SLACK, -529, -1, 1, 1105, SLACK])
def test_a_decoding_with_another_delay_and_noise(later: int) -> None:
    other = SOUND[-later:] if later < 0 else np.concatenate([np.zeros_like(SOUND[:later]), SOUND])
    noisy = (other + rng.normal(0, 0.01, other.shape)).astype(np.float32)
    found = behind(SOUND[:30_000], noisy, 1000, 1000)
    assert len(found) == 30_000
    np.testing.assert_allclose(found, SOUND[30_000:], atol=0.06)


def test_a_tone_goes_on_where_it_is_expected() -> None:
    tone = np.sin(np.arange(60_000) * 2 * np.pi / 100).astype(np.float32)[:, np.newaxis]
    quieter = np.float32(0.99) * tone
    assert np.array_equal(behind(tone[:30_000], quieter, 1000, 1000), quieter[30_000:])


def test_silence_goes_on() -> None:
    silence = np.zeros((20_000, 1), np.float32)
    assert len(behind(silence[:9_000], silence, 1000, 1000)) == 11_000


def test_another_sound_does_not_go_on() -> None:
    other = rng.uniform(-0.5, 0.5, SOUND.shape).astype(np.float32)
    assert not len(behind(SOUND[:30_000], other, 1000, 1000))
    assert not len(behind(SOUND[:30_000], SOUND[:, :1], 1000, 1000))  # nor one of other channels
    assert not len(behind(SOUND[:30_000], SOUND[:10_000], 1000, 1000))  # nor one that is shorter


def test_a_little_more_is_not_taken() -> None:
    assert not len(behind(SOUND[:59_000], SOUND, 1000, 1000, least=1001))
    assert len(behind(SOUND[:59_000], SOUND, 1000, 1000, least=1000)) == 1000
    assert len(behind(SOUND[:0], SOUND, 1000, 1000, least=1000)) == len(SOUND)
