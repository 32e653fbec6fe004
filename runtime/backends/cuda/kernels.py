"""The runtime's own kernels: 16-bit samples to floats, and embeddings against a bank of labels."""

from __future__ import annotations

from ctypes import c_uint32, c_uint64
from pathlib import Path
from typing import Any, NamedTuple

from runtime.backends.cuda.driver import Driver
from runtime.backends.cuda.memory import DeviceBuffer

PTX = Path(__file__).with_name("kernels.ptx")
THREADS = 256  # of a block
MOST_BLOCKS = 1 << 12  # more than run at once on any GPU; each thread then takes several samples
MOST_ROWS = 65_535  # of a launch: as many as a grid's second axis holds


class Sizes(NamedTuple):
    """Of a lookup: ``rows`` embeddings (1 to 65535) of ``dim``, against ``labels`` (at least 1)."""

    rows: int
    labels: int
    dim: int


class Kernels:
    """The kernels, compiled by the driver for its GPU.

    Args:
        driver: whose context is current in this thread.

    Raises:
        BackendError: the driver is older than CUDA 9, which brought this kind of PTX.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        # The driver looks for a zero byte at the end of the text.
        self._module: Any = driver.call("cuModuleLoadData", PTX.read_bytes() + b"\0")
        self._widen = driver.call("cuModuleGetFunction", self._module, b"widen")
        self._lookup = driver.call("cuModuleGetFunction", self._module, b"lookup")

    def widen(self, source: DeviceBuffer, target: DeviceBuffer, count: int, stream: Any) -> None:
        """Start turning 16-bit PCM into floats in [-1, 1): ``source / 32768``, exactly.

        Args:
            source: int16 ``[count]``.
            target: float32 ``[count]``.
            count: samples, at least 1.
            stream: the driver's, which puts it behind the work it has.
        """
        assert source.nbytes >= 2 * count
        assert target.nbytes >= 4 * count
        blocks = min(-(-count // THREADS), MOST_BLOCKS)
        pointers = (source.address, target.address, count)
        self._launch(self._widen, blocks, 1, pointers, (c_uint64,) * 3, stream)

    def lookup(
        self,
        bank: DeviceBuffer,
        embeddings: DeviceBuffer,
        scores: DeviceBuffer,
        sizes: Sizes,
        stream: Any,
    ) -> None:
        """Start the inner products of embeddings and a bank, each summed in FP32.

        Args:
            bank: float32 ``[dim, labels]``, the transpose of what a label bank holds.
            embeddings: float32 ``[rows, dim]``.
            scores: float32 ``[rows, labels]``, which are written.
            sizes: of the three.
            stream: the driver's, which puts it behind the work it has.
        """
        rows, labels, dim = sizes
        assert 1 <= rows <= MOST_ROWS
        assert bank.nbytes >= 4 * dim * labels
        assert embeddings.nbytes >= 4 * rows * dim
        assert scores.nbytes >= 4 * rows * labels
        values = (bank.address, embeddings.address, scores.address, dim, labels)
        types = (c_uint64, c_uint64, c_uint64, c_uint32, c_uint32)
        self._launch(self._lookup, -(-labels // THREADS), rows, values, types, stream)

    def close(self) -> None:
        """Unload them; none may be running."""
        if self._module is not None:
            self._driver.call("cuModuleUnload", self._module)
            self._module = None

    def _launch(
        self,
        function: Any,
        width: int,
        height: int,
        values: tuple[int, ...],
        types: tuple[Any, ...],
        stream: Any,
    ) -> None:
        grid, block, shared_bytes, extra = (width, height, 1), (THREADS, 1, 1), 0, 0
        self._driver.call(
            "cuLaunchKernel", function, *grid, *block, shared_bytes, stream, (values, types), extra
        )
