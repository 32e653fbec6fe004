"""Variables of a TensorFlow checkpoint or SavedModel, read without TensorFlow.

Source of the format: `tensor_bundle.proto`, `tensor_bundle.h` and `table_format.txt` in
tensorflow/core/util/tensor_bundle and tensorflow/core/lib/io. ``NAME.index`` is a sorted table of
names and records; a record says in which ``NAME.data-*`` file a tensor's bytes lie, and where. The
graph beside them, ``saved_model.pb``, holds code and is never opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from runtime.errors import ClapError

MOST_INDEX = 64 << 20  # bytes; a model of 10,000 tensors has 1 MB
MOST_SIZE = 4 << 30  # bytes of one tensor
_FOOTER = 48
_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_TRAILER = 5  # behind a block: its compression, and a checksum
# By the numbers of types.proto; the others (strings, resources) hold no weights.
_TYPES = {
    1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", 17: "<u2",
    19: "<f2", 22: "<u4", 23: "<u8",
}  # fmt: skip


@dataclass(frozen=True)
class _Record:
    """Where a tensor's bytes lie."""

    kind: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    whole: bool


class TensorBundle:
    """The tensors of one checkpoint.

    Args:
        prefix: of its files: ``variables/variables`` in a SavedModel's folder.

    Raises:
        ClapError: its index is missing, damaged, or compressed.
    """

    def __init__(self, prefix: Path) -> None:
        self._prefix = prefix
        path = prefix.with_name(f"{prefix.name}.index")
        try:
            if path.stat().st_size > MOST_INDEX:
                raise ClapError(f"{path} is too large to be the index of a checkpoint.")
            data = path.read_bytes()
        except (OSError, ValueError) as error:  # a NUL in the path is a ValueError
            reason = getattr(error, "strerror", None) or error
            raise ClapError(f"{path} cannot be read ({reason}).") from error
        try:
            entries = dict(_table(data))
            shards = [v for n, _, v in _fields(entries.pop(b"", b"")) if n == 1]
            self._shards = shards[0] if shards and isinstance(shards[0], int) else 1
            self._records = {name.decode(): _record(value) for name, value in entries.items()}
        except (ValueError, IndexError, OverflowError) as error:
            raise ClapError(f"{path} is no index of a TensorFlow checkpoint ({error}).") from error

    def __iter__(self) -> Iterator[str]:
        """Names, in order."""
        return iter(self._records)

    def read(self, name: str) -> np.ndarray:
        """One tensor.

        Raises:
            ClapError: its bytes are not there, or it is of a kind that holds no numbers.
        """
        record = self._records[name]
        kind = _TYPES.get(record.kind)
        if kind is None or not record.whole:
            what = "is stored in slices" if kind else f"is of type {record.kind}, not of numbers"
            raise ClapError(f"{self._prefix}: {name} {what}, which is not read here.")
        path = self._prefix.with_name(
            f"{self._prefix.name}.data-{record.shard:05d}-of-{self._shards:05d}"
        )
        dtype = np.dtype(kind)
        try:
            count = int(np.prod(record.shape, dtype=np.float64))
            if record.size != count * dtype.itemsize or record.size > MOST_SIZE:
                raise ValueError(f"{record.shape} of {dtype.itemsize} bytes are not {record.size}")
            with path.open("rb") as file:
                file.seek(record.offset)
                data = file.read(record.size)
            if len(data) < record.size:
                raise ValueError(f"it ends {record.size - len(data)} bytes early")
        except (OSError, ValueError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ClapError(f"{path}, which holds {name}, cannot be read ({reason}).") from error
        return np.frombuffer(data, dtype).reshape(record.shape).copy()


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a sorted table: a block of blocks, found by the footer at its end."""
    footer = data[-_FOOTER:]
    if len(footer) < _FOOTER or not footer.endswith(_MAGIC):
        raise ValueError("its end is not that of a table")
    _, at = _varint(footer, 0)
    _, at = _varint(footer, at)  # a block of statistics, which nobody writes
    offset, at = _varint(footer, at)
    size, _ = _varint(footer, at)
    for _, handle in _block(data, offset, size):
        offset, at = _varint(handle, 0)
        size, _ = _varint(handle, at)
        yield from _block(data, offset, size)


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Entries of a block. Each names how much of the key before it is its own beginning."""
    if offset + size + _TRAILER > len(data) or size < 4:
        raise ValueError("a block lies outside of it")
    if data[offset + size]:
        raise ValueError("it is compressed")
    block = data[offset : offset + size]
    restarts = int.from_bytes(block[-4:], "little")
    end, at, key = size - 4 - 4 * restarts, 0, b""
    while at < end:
        shared, at = _varint(block, at)
        rest, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or at + rest + length > end:
            raise ValueError("an entry lies outside of its block")
        key = key[:shared] + block[at : at + rest]
        at += rest
        yield key, block[at : at + length]
        at += length


def _record(data: bytes) -> _Record:
    numbers = {1: 0, 3: 0, 4: 0, 5: 0}
    shape: tuple[int, ...] = ()
    whole = True
    for number, _, value in _fields(data):
        if number in numbers and isinstance(value, int):
            numbers[number] = value
        elif number == 2 and isinstance(value, bytes):
            shape = tuple(_dim(dim) for n, _, dim in _fields(value) if n == 2)
        whole &= number != 7
    return _Record(numbers[1], shape, numbers[3], numbers[4], numbers[5], whole)


def _dim(data: int | bytes) -> int:
    fields = _fields(data) if isinstance(data, bytes) else ()
    return next((v for n, _, v in fields if n == 1 and isinstance(v, int)), 0)


def _fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Numbers, wire types and values of a protocol buffer's fields."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, wire, value
            continue
        size, at = _varint(data, at) if wire == 2 else ({1: 8, 5: 4}.get(wire, -1), at)
        if size < 0 or at + size > len(data):
            raise ValueError("a record is damaged")
        yield number, wire, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the low ones first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("it ends within a number")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    raise ValueError("a number has no end")
