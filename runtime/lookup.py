"""Cosines of an embedding to a bank of labels, and where they are taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from runtime.backends.cuda.driver import Driver
from runtime.backends.cuda.lookup import DeviceBank
from runtime.lease import Lease

if TYPE_CHECKING:
    from runtime.encoder import Encoder

# Elements of a bank, 16 MiB: below it the CPU is through before a GPU has been asked and has
# answered. An estimate; to be measured on a GPU.
LARGE = 1 << 22


class Lookup:
    """A bank, in numpy; a large one beside an encoder on a GPU, in the GPU's memory. Threads may
    share it.

    Args:
        bank: float32 ``[labels, dim]`` of unit norm.
        encoder: whose embeddings will be looked up.

    Raises:
        BackendError: the GPU has not enough memory left for the bank.
    """

    def __init__(self, bank: NDArray[np.float32], encoder: Encoder) -> None:
        self._bank, self._encoder = bank, encoder
        on_gpu = bank.size >= LARGE and encoder.open_audio().on_gpu
        self._lease = Lease(self._upload, DeviceBank.close) if on_gpu else None
        if self._lease is not None:
            self._lease.get()  # what is missing shows now

    def cosines(self, embedding: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cosines ``[labels]`` to one embedding float32 ``[dim]`` of unit norm.

        Raises:
            BackendError: the GPU failed.
        """
        if self._lease is None:
            return similarities(self._bank, embedding)
        with self._lease.use() as device:
            return device.similarities(embedding[np.newaxis])[0]

    def close(self) -> None:
        """Release the GPU's memory; the bank is uploaded again when needed."""
        if self._lease is not None:
            self._lease.close()

    def _upload(self) -> DeviceBank:
        return DeviceBank(Driver(self._encoder.device), self._bank)


def similarities(bank: NDArray[np.float32], embedding: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosines ``[n]`` of unit vectors ``[n, dim]`` to one ``[dim]``.

    Not by a matrix product: from some hundred labels on, its library wakes threads, which go on
    spinning for the time of the next recording and take the cores from its encoder (measured: 127
    instead of 69 ms, behind 1000 labels).
    """
    return cast("NDArray[np.float32]", np.einsum("nd,d->n", bank, embedding))
