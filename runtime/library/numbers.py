"""The numbers that vectors are stored as, and back to float32 in a buffer that fits a cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from runtime.library.description import Store

NUMBERS: dict[Store, Any] = {"float32": np.float32, "float16": np.float16, "int8": np.int8}
# Rows that are brought to float32 at a time: with 512 numbers each, half a MiB, so that what is
# made is still in the cache when it is multiplied.
ROWS = 256


def cosines(vectors: NDArray[Any], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Products ``[n]`` of stored vectors ``[n, dim]`` and a query float32 ``[dim]``."""
    if vectors.dtype == np.float32 and vectors.flags.aligned:
        return vectors @ query
    out = np.empty(len(vectors), np.float32)
    for start, rows in floats(vectors):
        np.matmul(rows, query, out=out[start : start + len(rows)])
    return out


def floats(vectors: NDArray[Any]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Stored vectors as float32, some rows at a time, each with the number of its first.

    What is given out is overwritten by the next.
    """
    # In a file they lie wherever they lie; of what is not aligned numpy would copy all at once.
    shape = min(ROWS, max(1, len(vectors))), vectors.shape[1]
    buffer: Any = np.empty(shape, np.float32)  # numpy types no view without a shape
    bits = buffer.view(np.int32)
    for start in range(0, len(vectors), ROWS):
        some: Any = vectors[start : start + ROWS]
        rows = buffer[: len(some)]
        if vectors.dtype == np.float16:
            _widen(some.view(np.int16), bits[: len(some)], rows)
        else:
            rows[...] = some
        yield start, rows


def stored(vectors: NDArray[np.float32], store: Store) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Unit vectors float32 ``[n, dim]`` as they are stored, and the scales ``[n]`` of integers.

    Integers use their whole range, vector by vector. The scale is 1 over their norm, so that what
    is read is of unit norm again.
    """
    if store != "int8":
        return vectors.astype(NUMBERS[store]), np.ones(len(vectors), np.float32)
    peaks = np.maximum(np.abs(vectors).max(axis=1, initial=0), 1e-12)
    whole = np.rint(vectors * (127 / peaks)[:, np.newaxis])
    norms = np.maximum(np.linalg.norm(whole.astype(np.float64), axis=1), 1)
    return whole.astype(np.int8), (1 / norms).astype(np.float32)


def _widen(halves: NDArray[np.int16], bits: NDArray[np.int32], out: NDArray[np.float32]) -> None:
    """Finite half floats as float32, a quarter of the time that numpy takes.

    Behind the shift a half's exponent and mantissa lie where those of a float32 do. The exponent is
    biased by 15 there instead of by 127, which the product mends, also for subnormal numbers.
    """
    bits[...] = halves
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, np.int32(-0x70002000), out=bits)  # 0x8fffe000: sign, and 15 bits
    np.multiply(out, np.float32(2.0**112), out=out)
