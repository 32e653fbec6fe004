"""16-bit samples go to a TensorRT engine as they are, and give what their floats give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from runtime.backends.cuda.driver import Driver
from runtime.backends.trt import TensorRtBackend
from runtime.backends.trt.dialect import Dialect
from runtime.engines import Engine, Profile, Range
from tests.fakes import tensorrt as faketrt
from tests.fakes.cuda import FakeCuda
from tests.tiny import bundle as tinybundle
from tests.tiny import engines as trtbundle
from tests.tiny.bundle import WINDOW

VERSIONS = ["8.6.1", "11.4.0.106"]
MOST = 8  # rows of a run

Opened = Callable[[str, int], tuple[TensorRtBackend, FakeCuda]]


def engine(version: str) -> Engine:
    waveform = Range((1, WINDOW), (4, WINDOW), (MOST, WINDOW))
    profiles = (Profile({"waveform": waveform}),)
    return trtbundle.engine(
        "audio", ("waveform",), WINDOW, WINDOW, version=version, profiles=profiles
    )


@pytest.fixture
def opened(tiny_bundle: Path, tmp_path: Path) -> Iterator[Opened]:
    """Opens engines of the tiny bundle, and sees after the test that nothing of them is left."""
    made: list[tuple[TensorRtBackend, FakeCuda]] = []

    def open_one(version: str, seed: int) -> tuple[TensorRtBackend, FakeCuda]:
        cuda, record = FakeCuda(seed=seed), engine(version)
        file = tmp_path / f"{version}-{seed}.engine"
        file.write_bytes(faketrt.plan(tiny_bundle / "audio.onnx", record))
        dialect = Dialect(faketrt.module(cuda, version), "tensorrt")
        made.append((TensorRtBackend(file, record, driver=Driver(0, cuda), dialect=dialect), cuda))
        return made[-1]

    yield open_one
    for backend, cuda in made:
        backend.close()
        assert not any(cuda.live().values()), cuda.live()


def pcm(seed: int, rows: int) -> np.ndarray:
    """int16 ``[rows, WINDOW]``, with the ends of its range."""
    samples = np.stack([tinybundle.clip(seed + i) for i in range(rows)]) * 32767
    samples[:, :2] = 32767, -32768
    return samples.astype(np.int16)


def embedding(backend: TensorRtBackend, waveform: np.ndarray) -> np.ndarray:
    return backend.run({"waveform": waveform})["embedding"]


@pytest.mark.parametrize("version", VERSIONS)
def test_samples_give_the_embeddings_worked_out_by_hand(opened: Opened, version: str) -> None:
    backend, _ = opened(version, 0)
    batch = pcm(0, 3)
    want = np.stack([tinybundle.slow_audio_embedding(row / 32768) for row in batch])
    np.testing.assert_allclose(embedding(backend, batch), want, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("version", VERSIONS)
def test_samples_give_exactly_what_floats_give(opened: Opened, version: str, seed: int) -> None:
    # Sizes that grow and shrink, past the engine's batch too, and shapes that come again, as graphs
    # then; the streams' order is another for each seed.
    sizes = [1, 2, 2, 5, 1, 8, 3, 11, 8, 20, 1, 2, 5, 5]
    batches = [pcm(100 * i, rows) for i, rows in enumerate(sizes)]
    narrow, cuda = opened(version, seed)
    wide, _ = opened(version, seed + 100)
    found = list(narrow.stream({"waveform": batch} for batch in batches))
    for rows, batch in zip(found, batches, strict=True):
        want = embedding(wide, (batch / 32768).astype(np.float32))
        assert rows["embedding"].tolist() == want.tolist()
    assert cuda.launched  # graphs ran: what is widened outside them reached them


@pytest.mark.parametrize("seed", range(5))
def test_samples_and_floats_may_take_turns(opened: Opened, seed: int) -> None:
    backend, _ = opened(VERSIONS[-1], seed)
    batches = [pcm(100 * i, 1 + i % 3) for i in range(12)]
    feeds = [
        batch if i % 2 ^ (i > 6) else (batch / 32768).astype(np.float32)
        for i, batch in enumerate(batches)
    ]
    found = list(backend.stream({"waveform": feed} for feed in feeds))
    for rows, batch in zip(found, batches, strict=True):
        want = np.stack([tinybundle.slow_audio_embedding(row / 32768) for row in batch])
        np.testing.assert_allclose(rows["embedding"], want, atol=1e-5)


def test_half_the_bytes_cross_the_bus(opened: Opened) -> None:
    backend, cuda = opened(VERSIONS[-1], 0)
    batch = pcm(0, 5)
    embedding(backend, batch)
    assert cuda.copied_in == 5 * WINDOW * 2
    embedding(backend, batch.astype(np.float32) / 32768)
    assert cuda.copied_in == 5 * WINDOW * (2 + 4)
    assert cuda.copied_out == 2 * 5 * (tinybundle.DIM + 1) * 4  # embedding and norm


def test_kernels_and_memory_for_them_come_with_the_first_samples(opened: Opened) -> None:
    backend, cuda = opened(VERSIONS[-1], 0)
    batch = pcm(0, 4)
    embedding(backend, batch.astype(np.float32) / 32768)
    before = backend.memory()
    assert cuda.live()["modules"] == 0
    for _ in range(4):
        embedding(backend, batch)
    after = backend.memory()
    assert cuda.live()["modules"] == 1
    # Both slots hold 16-bit samples now, in the next power of two.
    size = 1 << (4 * WINDOW * 2 - 1).bit_length()
    slots = [size, 2 * size]
    assert after.pinned - before.pinned == 2 * size + 4 * (tinybundle.DIM + 1) * 4
    assert after.device - before.device == sum(slots) + size + 4 * (tinybundle.DIM + 1) * 4


def test_the_time_of_a_batch_is_told_for_samples_too(opened: Opened) -> None:
    backend, cuda = opened(VERSIONS[-1], 0)
    copied, computed, fetched = backend.milliseconds({"waveform": pcm(0, 2)})
    assert computed > copied > 0
    assert fetched > 0
    assert cuda.copied_in == 2 * WINDOW * 2
