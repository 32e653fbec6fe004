"""Label banks whose arrays are not what their headers say."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.torture.found.change import BRACKETS, ESCAPE, Make


def _bank(data: bytes, **changed: Callable[[bytes], bytes]) -> bytes:
    """A bank with the bytes of its arrays changed; checksums are right."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            change = changed.get(name.removesuffix(".npy"), lambda content: content)
            new.writestr(name, change(old.read(name)))
    return made.getvalue()


def _described(data: bytes, change: Callable[[dict[str, Any]], bytes]) -> bytes:
    """A bank with another description."""

    def changed(content: bytes) -> bytes:
        file = io.BytesIO()
        text = change(json.loads(np.load(io.BytesIO(content)).tobytes()))
        np.save(file, np.frombuffer(text, np.uint8))
        return file.getvalue()

    return _bank(data, meta=changed)


def _named(*names: str) -> Make:
    return lambda data: _described(data, lambda meta: json.dumps(meta | {"names": names}).encode())


def _objects(content: bytes) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{}], object), allow_pickle=True)
    return file.getvalue()


def _deflated_zeros(data: bytes) -> bytes:
    """Four gigabytes of zeros would be four megabytes; a sixteenth of it is here."""
    made = io.BytesIO()
    header = io.BytesIO()
    described = {"descr": "<f4", "fortran_order": False, "shape": (1 << 16, 1 << 10)}
    np.lib.format.write_array_header_1_0(header, described)
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        with new.open("embeddings.npy", "w") as entry:
            entry.write(header.getvalue())
            for _ in range(256):
                entry.write(bytes(1 << 20))
        with zipfile.ZipFile(io.BytesIO(data)) as old:
            new.writestr("meta.npy", old.read("meta.npy"))
    return made.getvalue()


BANKS: dict[str, Make] = {
    "a bracket that opens twice": lambda data: _bank(
        data, embeddings=lambda content: content.replace(b")", b"(", 1)
    ),
    "objects": lambda data: _bank(data, embeddings=_objects),
    "more rows than there are": lambda data: _bank(
        data, embeddings=lambda content: content.replace(b"(3, 8)", b"(9, 9)", 1)
    ),
    "a shape of 2^62": lambda data: _bank(
        data, embeddings=lambda content: content.replace(b"(3, 8), }" + b" " * 17,
                                                         b"(4611686018427387904, 8), }", 1)
    ),
    "deflated zeros": _deflated_zeros,
    "names that clear the screen": _named("dog", "rain", ESCAPE),
    "another number of names": _named("dog"),
    "nested brackets": lambda data: _described(data, lambda meta: BRACKETS),
    "cut off": lambda data: data[:-30],
}  # fmt: skip

FOUND = {"label bank": BANKS}
