"""A large bank of labels on the GPU: embeddings go there, and only scores come back."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from runtime import forks
from runtime.backends.cuda.driver import Driver
from runtime.backends.cuda.kernels import Kernels, Sizes
from runtime.backends.cuda.memory import DeviceBuffer, PinnedBuffer
from runtime.backends.cuda.stream import Stream
from runtime.errors import BackendError

ROWS = 64  # of a run at most: each reads the whole bank
SCORES = 16 << 20  # bytes of scores that are brought back at once, where a row is not longer
SLAB = 64 << 20  # bytes of the bank that are pinned at once, on their way to the GPU


class DeviceBank:
    """A bank of embeddings on the GPU. Threads may share it; they take turns.

    Args:
        driver: of the GPU; it is closed with the bank, and when the bank cannot be made.
        bank: float32 ``[labels, dim]``; copied, and not needed any more afterwards.

    Attributes:
        device_bytes: memory of the GPU that it holds.
        pinned_bytes: page-locked memory of the host that it holds.

    Raises:
        BackendError: the GPU has not enough memory left, or does not take the kernels.
    """

    def __init__(self, driver: Driver, bank: NDArray[np.float32]) -> None:
        self._driver = driver
        self._labels, self._dim = bank.shape
        self._rows = max(1, min(ROWS, SCORES // (4 * self._labels)))
        self._lock = threading.Lock()
        self._closed = False
        self.device_bytes = self.pinned_bytes = 0
        with ExitStack() as held:
            held.callback(driver.close)
            driver.enter()
            self._bank = self._device(held, 4 * self._labels * self._dim)
            self._inputs = self._both(held, 4 * self._rows * self._dim)
            self._scores = self._both(held, 4 * self._rows * self._labels)
            self._kernels = Kernels(driver)
            held.callback(self._kernels.close)
            self._stream = Stream(driver)
            held.callback(self._stream.close)  # the first to go: it waits for what runs
            self._upload(bank)
            self._held = held.pop_all()
        forks.watch(self)

    def similarities(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Inner products of embeddings and labels: cosines, where both have unit norm.

        Args:
            embeddings: float32 ``[rows, dim]``.

        Returns:
            float32 ``[rows, labels]``, each summed in FP32.

        Raises:
            BackendError: embeddings of another width or type, or the bank was closed.
        """
        if embeddings.ndim != 2 or embeddings.shape[1] != self._dim:
            raise BackendError(
                f"embeddings of shape {embeddings.shape} were given: this bank takes [rows, "
                f"{self._dim}]."
            )
        if embeddings.dtype != np.float32:
            raise BackendError(f"embeddings of {embeddings.dtype} were given: pass float32.")
        scores = np.empty((len(embeddings), self._labels), np.float32)
        with self._lock:
            if self._closed:
                raise BackendError("this bank was closed: upload it again.")
            self._driver.enter()
            for start in range(0, len(scores), self._rows):
                part = slice(start, start + self._rows)
                self._run(embeddings[part], scores[part])
        return scores

    def close(self) -> None:
        """Wait for a lookup in progress, and release everything."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._driver.enter()
                self._held.close()

    def forked(self) -> None:
        """In a child of the process that made it: the GPU's memory is not the child's."""
        forks.leak(dict(self.__dict__))
        self._closed, self._lock = True, threading.Lock()

    def _run(self, embeddings: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
        stream, (sent, inputs), (fetched, outputs) = self._stream.raw, self._inputs, self._scores
        sent.view(embeddings.shape, np.float32)[...] = embeddings
        inputs.fill(sent, embeddings.nbytes, stream)
        sizes = Sizes(len(scores), self._labels, self._dim)
        self._kernels.lookup(self._bank, inputs, outputs, sizes, stream)
        outputs.fetch(fetched, scores.nbytes, stream)
        self._stream.synchronize()
        scores[...] = fetched.view(scores.shape, np.float32)

    def _upload(self, bank: NDArray[np.float32]) -> None:
        """Transposed, some dimensions at a time: a bank may be larger than what can be pinned."""
        row = 4 * self._labels
        step = min(self._dim, max(1, SLAB // row))
        slab = PinnedBuffer(self._driver, step * row)
        try:
            for start in range(0, self._dim, step):
                part: NDArray[np.float32] = np.transpose(bank[:, start : start + step])
                slab.view(part.shape, np.float32)[...] = part
                self._driver.call(
                    "cuMemcpyHtoDAsync",
                    self._bank.address + start * row,
                    slab.address,
                    len(part) * row,
                    self._stream.raw,
                )
                self._stream.synchronize()  # before the slab is written again, or freed
        finally:
            slab.close()

    def _device(self, held: ExitStack, nbytes: int) -> DeviceBuffer:
        buffer = DeviceBuffer(self._driver, nbytes)
        held.callback(buffer.close)
        self.device_bytes += buffer.nbytes
        return buffer

    def _both(self, held: ExitStack, nbytes: int) -> tuple[PinnedBuffer, DeviceBuffer]:
        pinned = PinnedBuffer(self._driver, nbytes)
        held.callback(pinned.close)
        self.pinned_bytes += pinned.nbytes
        return pinned, self._device(held, nbytes)
