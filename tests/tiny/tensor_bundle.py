"""Files as TensorFlow writes a checkpoint, by its published format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

_KINDS = {"float32": 1, "float64": 2, "int32": 3, "int64": 9}


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(entries: Mapping[bytes, bytes]) -> bytes:
    """A block without its trailer; every key is written as far as it differs from the last."""
    out, last = b"", b""
    for key, value in sorted(entries.items()):
        shared = 0
        while shared < min(len(last), len(key)) and last[shared] == key[shared]:
            shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value))
        out += key[shared:] + value
        last = key
    return out + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")


def table(entries: Mapping[bytes, bytes]) -> bytes:
    data, trailer = block(entries), bytes(5)
    meta = block({})
    handles = [varint(0) + varint(len(data))]
    out = data + trailer
    handles.append(varint(len(out)) + varint(len(meta)))
    out += meta + trailer
    index = block({max(entries): handles[0]})
    handles.append(varint(len(out)) + varint(len(index)))
    out += index + trailer
    footer = (handles[1] + handles[2]).ljust(40, b"\0")
    return out + footer + (0xDB4775248B80FB57).to_bytes(8, "little")


def save(prefix: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write ``PREFIX.index`` and ``PREFIX.data-00000-of-00001``."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    data, entries = b"", {b"": field(1, 1)}
    for name, value in sorted(tensors.items()):
        shape = b"".join(field(2, field(1, n)) for n in value.shape)
        raw = np.ascontiguousarray(value).tobytes()
        entries[name.encode()] = (
            field(1, _KINDS[value.dtype.name]) + field(2, shape)
            + field(4, len(data)) + field(5, len(raw))
        )  # fmt: skip
        data += raw
    prefix.with_name(f"{prefix.name}.index").write_bytes(table(entries))
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").write_bytes(data)
