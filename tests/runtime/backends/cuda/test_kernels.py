"""The kernels' committed text: assembled, interpreted, and run on a GPU where there is one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from runtime.backends.cuda import kernels
from runtime.backends.cuda.driver import Driver
from runtime.backends.cuda.kernels import MOST_BLOCKS, MOST_ROWS, PTX, THREADS, Kernels, Sizes
from runtime.backends.cuda.memory import DeviceBuffer, PinnedBuffer
from runtime.backends.cuda.stream import Stream
from runtime.errors import BackendError
from tests.fakes.cuda import FakeCuda

Put = Callable[[np.ndarray], DeviceBuffer]
GUARD = 64  # floats behind a result, that must stay as they were


class Bench:
    """A driver, its kernels and a stream, and arrays on their way to and from the GPU."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        driver.enter()
        self.kernels, self.stream = Kernels(driver), Stream(driver)
        self.buffers: list[DeviceBuffer | PinnedBuffer] = []

    def put(self, array: np.ndarray) -> DeviceBuffer:
        pinned, device = self._both(array.nbytes)
        pinned.view(array.shape, array.dtype)[...] = array
        device.fill(pinned, array.nbytes, self.stream.raw)
        return device

    def get(self, device: DeviceBuffer, shape: tuple[int, ...]) -> np.ndarray:
        pinned, _ = self._both(device.nbytes)
        device.fetch(pinned, device.nbytes, self.stream.raw)
        self.stream.synchronize()
        return pinned.view(shape, np.float32).copy()

    def _both(self, nbytes: int) -> tuple[PinnedBuffer, DeviceBuffer]:
        pinned, device = PinnedBuffer(self.driver, nbytes), DeviceBuffer(self.driver, nbytes)
        self.buffers += [pinned, device]
        return pinned, device

    def close(self) -> None:
        self.stream.close()
        self.kernels.close()
        for buffer in self.buffers:
            buffer.close()
        self.driver.close()


def check_widen(bench: Bench, count: int) -> None:
    """``count`` samples, every int16 value among them where they are enough."""
    samples = np.random.default_rng(count).permutation(np.arange(count) % 65536 - 32768)
    target = bench.put(np.full(count + GUARD, 7, np.float32))
    bench.kernels.widen(bench.put(samples.astype(np.int16)), target, count, bench.stream.raw)
    found = bench.get(target, (count + GUARD,))
    assert found[:count].tolist() == (samples / 32768).tolist()  # exact, by float64
    assert (found[count:] == 7).all()


def check_lookup(bench: Bench, rows: int, labels: int, dim: int) -> None:
    """Random vectors of unit norm, against float64."""
    rng = np.random.default_rng(labels)
    bank, embeddings = (rng.standard_normal((n, dim)) for n in (labels, rows))
    bank = (bank / np.linalg.norm(bank, axis=1, keepdims=True)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    embeddings = embeddings.astype(np.float32)
    scores = bench.put(np.full(rows * labels + GUARD, 7, np.float32))
    bench.kernels.lookup(
        bench.put(np.ascontiguousarray(bank.T)),
        bench.put(embeddings),
        scores,
        Sizes(rows, labels, dim),
        bench.stream.raw,
    )
    found = bench.get(scores, (rows * labels + GUARD,))
    want = np.einsum("nd,rd->rn", bank.astype(np.float64), embeddings.astype(np.float64))
    # A running FP32 sum of unit vectors: at most dim roundings, of half a unit in the last place.
    np.testing.assert_allclose(found[: rows * labels].reshape(rows, labels), want, atol=dim * 6e-8)
    assert (found[rows * labels :] == 7).all()


COUNTS = [1, THREADS - 1, THREADS, THREADS + 1, 65536, THREADS * MOST_BLOCKS + 1]
SHAPES = [(1, 1, 1), (1, 255, 3), (3, 256, 4), (2, 257, 5), (5, 1000, 33), (1, 300, 512)]


@pytest.fixture
def fake() -> Iterator[Bench]:
    cuda = FakeCuda()
    bench = Bench(Driver(0, cuda))
    yield bench
    bench.close()
    assert not any(cuda.live().values()), cuda.live()


@pytest.mark.skipif(shutil.which("ptxas") is None, reason="ptxas is not installed")
@pytest.mark.parametrize("capability", ["sm_75", "sm_90", "sm_120"])
def test_nvidias_assembler_takes_the_text(capability: str, tmp_path: Path) -> None:
    command = ["ptxas", "--warning-as-error", "-arch", capability, "-o", str(tmp_path / "k"), PTX]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "k").stat().st_size


@pytest.mark.parametrize("count", COUNTS)
def test_widen_divides_by_full_scale_and_stays_in_bounds(fake: Bench, count: int) -> None:
    check_widen(fake, count)


@pytest.mark.parametrize(("rows", "labels", "dim"), SHAPES)
def test_lookup_gives_the_inner_products(fake: Bench, rows: int, labels: int, dim: int) -> None:
    check_lookup(fake, rows, labels, dim)


def test_lookup_sums_in_the_order_of_the_dimensions(fake: Bench) -> None:
    # In FP32, 1e8 + 1 is 1e8: only one order gives 3.
    bank = np.array([1e8, 1, -1e8, 1, 1, 1], np.float32)
    scores = fake.put(np.zeros(1, np.float32))
    ones = fake.put(np.ones(6, np.float32))
    fake.kernels.lookup(fake.put(bank), ones, scores, Sizes(1, 1, 6), fake.stream.raw)
    assert fake.get(scores, (1,)).tolist() == [3.0]


def test_kernels_refuse_buffers_that_are_too_small(fake: Bench) -> None:
    small = fake.put(np.zeros(4, np.float32))
    with pytest.raises(AssertionError):
        fake.kernels.widen(small, small, 5, fake.stream.raw)
    with pytest.raises(AssertionError):
        fake.kernels.lookup(small, small, small, Sizes(1, 5, 1), fake.stream.raw)
    with pytest.raises(AssertionError):
        fake.kernels.lookup(small, small, small, Sizes(MOST_ROWS + 1, 1, 1), fake.stream.raw)


def test_a_driver_that_does_not_take_the_text_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    later = tmp_path / "later.ptx"
    later.write_text(PTX.read_text().replace(".version 6.0", ".version 60.0"))
    monkeypatch.setattr(kernels, "PTX", later)
    driver = Driver(0, FakeCuda())
    driver.enter()
    with pytest.raises(BackendError, match=r"cuModuleLoadData.*INVALID_PTX"):
        Kernels(driver)


# The fake must find what it is there to find.


def test_the_fake_sees_a_kernel_that_leaves_its_memory(fake: Bench) -> None:
    source, target = fake.put(np.zeros(300, np.int16)), fake.put(np.zeros(300, np.float32))
    target.nbytes = 2000  # a lie, past the check in Python
    source.nbytes = 2000
    fake.kernels.widen(source, target, 400, fake.stream.raw)
    with pytest.raises(AssertionError, match="are not the GPU's memory"):
        fake.stream.synchronize()
    target.nbytes = 1200


def test_the_fake_sees_a_module_unloaded_too_early(fake: Bench) -> None:
    target = fake.put(np.zeros(4, np.float32))
    fake.kernels.widen(fake.put(np.zeros(4, np.int16)), target, 4, fake.stream.raw)
    with pytest.raises(AssertionError, match="unloaded while"):
        fake.driver.call("cuModuleUnload", fake.kernels._module)
    with pytest.raises(AssertionError, match="freed while"):
        target.close()


# On a GPU


@pytest.fixture
def gpu() -> Iterator[Bench]:
    try:
        driver = Driver(0)
    except BackendError as error:
        pytest.skip(str(error))
    bench = Bench(driver)
    yield bench
    bench.close()


@pytest.mark.gpu
@pytest.mark.parametrize("count", [*COUNTS, 16 * 480_000])
def test_widen_on_a_gpu(gpu: Bench, count: int) -> None:
    check_widen(gpu, count)


@pytest.mark.gpu
@pytest.mark.parametrize(("rows", "labels", "dim"), [*SHAPES, (64, 8192, 512), (1, 100_001, 512)])
def test_lookup_on_a_gpu(gpu: Bench, rows: int, labels: int, dim: int) -> None:
    check_lookup(gpu, rows, labels, dim)
