"""A bank on the GPU gives numpy's products, and a classifier uses it when it should."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import Classifier, Encoder, LabelBank, lookup
from runtime.backends.cuda import lookup as device_lookup
from runtime.backends.cuda.driver import Driver
from runtime.backends.cuda.lookup import DeviceBank
from runtime.backends.ort import OrtBackend
from runtime.errors import BackendError
from tests.fakes.cuda import FakeCuda
from tests.tiny.bundle import DIM, LABELS, RATE, clip, slow_cosines


def units(seed: int, rows: int, dim: int) -> np.ndarray:
    """float32 ``[rows, dim]`` of unit norm."""
    vectors = np.random.default_rng(seed).standard_normal((rows, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def truth(bank: np.ndarray, embeddings: np.ndarray) -> np.ndarray:
    return np.einsum("nd,rd->rn", bank.astype(np.float64), embeddings.astype(np.float64))


@pytest.fixture
def cuda() -> Iterator[FakeCuda]:
    """A fake driver, of which nothing may be left after the test."""
    made = FakeCuda()
    yield made
    assert not any(made.live().values()), made.live()


# The bank


@pytest.mark.parametrize(
    ("rows", "labels", "dim"),
    [(1, 1, 1), (1, 1000, 64), (7, 257, 33), (64, 100, 8), (130, 300, 5), (0, 10, 4)],
)
def test_similarities_are_numpys_products(cuda: FakeCuda, rows: int, labels: int, dim: int) -> None:
    bank, embeddings = units(0, labels, dim), units(1, rows, dim)
    made = DeviceBank(Driver(0, cuda), bank)
    found = made.similarities(embeddings)
    assert (found.shape, found.dtype) == ((rows, labels), np.float32)
    np.testing.assert_allclose(found, truth(bank, embeddings), atol=1e-6)
    made.close()


def test_a_bank_goes_up_in_slabs_and_scores_come_back_in_parts(
    cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank, embeddings = units(2, 300, 13), units(3, 11, 13)
    monkeypatch.setattr(device_lookup, "SLAB", 300 * 4 * 5)  # 5, 5 and 3 of the 13 dimensions
    monkeypatch.setattr(device_lookup, "SCORES", 300 * 4 * 2)  # 2 rows at a time
    made = DeviceBank(Driver(0, cuda), bank)
    np.testing.assert_allclose(made.similarities(embeddings), truth(bank, embeddings), atol=1e-6)
    monkeypatch.setattr(device_lookup, "SLAB", 1)  # not even one dimension
    monkeypatch.setattr(device_lookup, "SCORES", 1)
    other = DeviceBank(Driver(0, cuda), bank)
    np.testing.assert_allclose(other.similarities(embeddings), truth(bank, embeddings), atol=1e-6)
    made.close()
    other.close()


def test_only_embeddings_go_up_and_only_scores_come_back(cuda: FakeCuda) -> None:
    made = DeviceBank(Driver(0, cuda), units(0, 500, 16))
    assert (cuda.copied_in, cuda.copied_out) == (500 * 16 * 4, 0)
    for _ in range(3):
        made.similarities(units(1, 2, 16))
    assert (cuda.copied_in, cuda.copied_out) == ((500 + 3 * 2) * 16 * 4, 3 * 2 * 500 * 4)
    made.close()


def test_its_memory_is_what_the_driver_gave(cuda: FakeCuda) -> None:
    made = DeviceBank(Driver(0, cuda), units(0, 500, 16))
    assert made.device_bytes == sum(len(block) for block in cuda.device_memory.values())
    assert made.pinned_bytes == sum(len(block) for block in cuda.pinned.values())
    made.close()


def test_a_view_that_is_not_contiguous_is_taken(cuda: FakeCuda) -> None:
    wide = units(0, 40, 32)
    bank, embeddings = wide[::2, 1::3], wide[1::4, 2::3]
    embeddings = np.pad(embeddings, ((0, 0), (0, 1)))
    assert bank.shape[1] == embeddings.shape[1]
    made = DeviceBank(Driver(0, cuda), bank)
    np.testing.assert_allclose(made.similarities(embeddings), truth(bank, embeddings), atol=1e-6)
    made.close()


def test_threads_take_turns(cuda: FakeCuda) -> None:
    bank = units(0, 300, 24)
    made = DeviceBank(Driver(0, cuda), bank)
    wrong: list[int] = []

    def work(worker: int) -> None:
        for i in range(10):
            embeddings = units(100 * worker + i, 1 + i % 4, 24)
            close = np.allclose(made.similarities(embeddings), truth(bank, embeddings), atol=1e-6)
            if not close:
                wrong.append(worker)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
    made.close()


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.zeros(4, np.float32), r"\[rows, 4\]"),
        (np.zeros((1, 5), np.float32), r"\(1, 5\)"),
        (np.zeros((1, 4)), "float64"),
    ],
)
def test_embeddings_of_another_form_are_refused(
    cuda: FakeCuda, embeddings: Any, message: str
) -> None:
    made = DeviceBank(Driver(0, cuda), units(0, 3, 4))
    with pytest.raises(BackendError, match=message):
        made.similarities(embeddings)
    made.close()


def test_a_closed_bank_says_so(cuda: FakeCuda) -> None:
    made = DeviceBank(Driver(0, cuda), units(0, 3, 4))
    made.close()
    made.close()
    with pytest.raises(BackendError, match="was closed"):
        made.similarities(units(1, 1, 4))


def test_a_gpu_without_room_is_an_error_that_leaves_nothing() -> None:
    bank = units(0, 100, 16)
    for memory in (100, 100 * 16 * 4, 100 * 16 * 4 + 64 * 16 * 4):
        cuda = FakeCuda(memory=memory)
        with pytest.raises(BackendError, match="OUT_OF_MEMORY"):
            DeviceBank(Driver(0, cuda), bank)
        assert not any(cuda.live().values()), cuda.live()


# In a classifier


class OnGpu(OrtBackend):
    """ONNX Runtime on the CPU that says it is TensorRT."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.provider, self.on_gpu = "tensorrt", True


@pytest.fixture
def encoder(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Encoder]:
    """Of the tiny bundle, on a GPU by its own account; number 1 of its machine."""
    monkeypatch.setattr("runtime.loaded.open_backend", lambda path, *rest: OnGpu(path, ("cpu",)))
    monkeypatch.setattr(lookup, "LARGE", DIM * len(LABELS))
    with Encoder(tiny_bundle, providers=("cuda",), device=1) as made:
        yield made


@pytest.fixture
def ordinals(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the GPUs that the classifier asked for."""
    asked: list[int] = []
    cuda.devices = 2

    def driver(ordinal: int) -> Driver:
        asked.append(ordinal)
        return Driver(ordinal, cuda)

    monkeypatch.setattr(lookup, "Driver", driver)
    return asked


def test_a_large_bank_beside_an_encoder_on_the_gpu_is_looked_up_there(
    encoder: Encoder, ordinals: list[int], cuda: FakeCuda
) -> None:
    want = slow_cosines(clip(3))
    with Classifier(encoder, LABELS) as made:
        assert ordinals == [1]  # already, and on the encoder's GPU
        before = cuda.copied_out
        found = made.predict(clip(3), RATE)
        assert cuda.copied_out - before == 4 * len(LABELS)
        assert [p.label for p in found] == sorted(want, key=want.__getitem__, reverse=True)
        for one in found:
            assert one.similarity == pytest.approx(want[one.label], abs=1e-5)
    assert not any(cuda.live().values())
    assert made.predict(clip(3), RATE) == found  # uploaded again
    assert ordinals == [1, 1]
    made.close()


def test_many_recordings_and_timelines_are_looked_up_there_too(
    encoder: Encoder, ordinals: list[int], cuda: FakeCuda
) -> None:
    with Classifier(encoder, LABELS) as made:
        clips = [clip(i) for i in range(5)]
        many = [r.predictions for r in made.predict_many(clips, RATE)]
        assert many == [made.predict(c, RATE) for c in clips]
        (segment,) = made.timeline(clips[0], RATE)
        assert [p.similarity for p in segment.predictions] == pytest.approx(
            [p.similarity for p in many[0]], abs=1e-6
        )
        assert cuda.copied_out == 4 * len(LABELS) * (5 + 5 + 1)
        assert ordinals == [1]


def test_a_smaller_bank_stays_on_the_cpu(
    encoder: Encoder, ordinals: list[int], cuda: FakeCuda
) -> None:
    with Classifier(encoder, LABELS[:-1]) as made:
        assert len(made.predict(clip(0), RATE)) == len(LABELS) - 1
    assert not ordinals


def test_a_large_bank_beside_an_encoder_on_the_cpu_stays_there(
    tiny_bundle: Path, ordinals: list[int], cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "LARGE", 1)
    with Classifier(tiny_bundle, LABELS, providers=("cpu",)) as made:
        assert len(made.predict(clip(0), RATE)) == len(LABELS)
    assert not ordinals


def test_a_large_bank_and_no_driver_is_an_error(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_driver(ordinal: int) -> Driver:
        return Driver(ordinal, FakeCuda(devices=0))

    monkeypatch.setattr(lookup, "Driver", no_driver)
    with pytest.raises(BackendError, match="does not start"):
        Classifier(encoder, LABELS)


def test_a_bank_of_the_size_that_is_large_is_right(cuda: FakeCuda) -> None:
    labels, dim = (1 << 14) + 1, 256
    assert labels * dim > lookup.LARGE
    bank, embeddings = units(5, labels, dim), units(6, 1, dim)
    made = DeviceBank(Driver(0, cuda), bank)
    np.testing.assert_allclose(made.similarities(embeddings), truth(bank, embeddings), atol=1e-6)
    made.close()


def test_a_saved_bank_mapped_into_memory_is_taken(
    encoder: Encoder, ordinals: list[int], cuda: FakeCuda, tmp_path: Path
) -> None:
    made = Classifier(encoder, LABELS)
    want = made.predict(clip(1), RATE)
    made.bank.save(tmp_path / "bank.npz")
    made.close()
    mapped = LabelBank.load(tmp_path / "bank.npz", mmap=True)
    with Classifier(encoder, mapped) as other:
        assert other.predict(clip(1), RATE) == want
