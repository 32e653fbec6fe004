"""The checksum that a Parquet file has of a page, without reading the page.

A page begins with a header in Thrift's compact protocol: its type, its size, its compressed size,
and the CRC-32 of what follows, if the writer made one. See parquet.thrift, ``PageHeader``.
"""

from __future__ import annotations

NUMBER = 0x15  # the next field, which is an int32
FIELDS = 4  # type, size, compressed size, CRC
MOST_HEADER = 4096  # bytes


def checksum(header: bytes) -> tuple[int, int] | None:
    """Bytes of the page behind its header, and their CRC-32; None where it has none."""
    values: list[int] = []
    at = 0
    for _ in range(FIELDS):
        if at >= len(header) or header[at] != NUMBER:
            return None
        value, at = _varint(header, at + 1)
        values.append(value >> 1 ^ -(value & 1))  # signed numbers alternate: 0, -1, 1, -2
    return values[2], values[3] & 0xFFFFFFFF


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while at < len(data):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if byte < 0x80:
            break
    return value, at
