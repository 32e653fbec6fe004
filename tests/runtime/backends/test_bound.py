"""Kept device buffers give what a plain run gives; tried with the CPU as the device."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from runtime.backends import bound
from runtime.backends.bound import Bound
from tests.tiny import bundle as tinybundle


@pytest.fixture
def kept(tiny_bundle: Path) -> Bound:
    session = onnxruntime.InferenceSession(str(tiny_bundle / "audio.onnx"))
    return Bound(onnxruntime, session, {"embedding": (tinybundle.DIM,)}, "cpu", 0)


def check(kept: Bound, seed: int, n: int) -> np.ndarray:
    batch = np.stack([tinybundle.clip(100 * seed + i) for i in range(n)])
    found = kept.run({"waveform": batch})["embedding"]
    wanted = np.stack([tinybundle.slow_audio_embedding(row) for row in batch])
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    return found


def test_shapes_that_come_and_go_give_the_right_numbers(
    kept: Bound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bound, "MOST_SHAPES", 2)
    for seed, n in enumerate((1, 3, 1, 2, 4, 3, 1, 1)):
        check(kept, seed, n)


def test_results_outlive_the_next_run(kept: Bound) -> None:
    first = check(kept, 0, 2)
    before = first.copy()
    check(kept, 1, 2)
    np.testing.assert_array_equal(first, before)


def test_threads_have_buffers_of_their_own(kept: Bound) -> None:
    failed: list[int] = []

    def work(seed: int) -> None:
        try:
            for _ in range(20):
                check(kept, seed, 2)
        except AssertionError:
            failed.append(seed)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_an_input_of_another_name_or_type_is_not_taken(kept: Bound) -> None:
    with pytest.raises(Exception, match="wave"):
        kept.run({"wave": np.zeros((1, tinybundle.WINDOW), np.float32)})
    with pytest.raises(Exception, match="float"):
        kept.run({"waveform": np.zeros((1, tinybundle.WINDOW), np.float64)})
