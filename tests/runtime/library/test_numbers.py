"""Stored numbers, and back."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.library import numbers


def unit(count: int, dim: int, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_every_finite_half_float_is_widened_to_the_bit() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    halves = np.resize(halves, (len(halves) // 7 + 1, 7))
    found = np.concatenate([rows.copy() for _, rows in numbers.floats(halves)])
    want = halves.astype(np.float32)
    assert np.array_equal(found.view(np.uint32), want.view(np.uint32))


@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 1000])
def test_cosines_are_those_of_the_stored_numbers(kind: str, count: int) -> None:
    vectors, query = unit(count, 48), unit(1, 48, 1)[0]
    stored, scales = numbers.stored(vectors, kind)  # pyright: ignore
    assert stored.dtype == kind
    want = stored.astype(np.float64) * scales[:, None] @ query.astype(np.float64)
    assert np.abs(numbers.cosines(stored, query) * scales - want).max(initial=0) < 1e-6
    # Bytes of a file lie where they lie.
    raw = np.zeros(stored.nbytes + 1, np.uint8)
    raw[1:] = stored.reshape(-1).view(np.uint8)
    shifted = raw[1:].view(stored.dtype).reshape(stored.shape)
    assert np.array_equal(numbers.cosines(shifted, query), numbers.cosines(stored, query)) or (
        np.abs(numbers.cosines(shifted, query) * scales - want).max() < 1e-6
    )


def test_integers_are_of_unit_norm_again_and_near() -> None:
    vectors = unit(500, 512)
    stored, scales = numbers.stored(vectors, "int8")
    back = stored.astype(np.float64) * scales[:, None]
    assert np.abs(np.linalg.norm(back, axis=1) - 1).max() < 1e-6
    assert np.abs(stored).max(axis=1).min() == 127
    assert (back * vectors).sum(axis=1).min() > 0.9999
