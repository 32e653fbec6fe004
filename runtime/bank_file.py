"""The file of a label bank: an ``.npz`` of two arrays, read from one descriptor without pickle.

``embeddings`` is float32 ``[n, dim]``; ``meta`` is the UTF-8 of a JSON object as uint8. The bank of
a head has a format of its own and two more arrays, ``scales`` and ``biases``, float32 ``[n]``.
Neither numpy's reader nor ``zipfile``'s is given the content: they believe sizes, and raise a dozen
kinds of exceptions. A file of a bank is some bytes of directory around arrays that lie in it as
they are, so that the file's own length says how much memory can be asked for.
"""

from __future__ import annotations

import io
import json
import math
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from runtime import schema
from runtime.errors import LabelError, SchemaError
from runtime.head import About, Head
from runtime.plain_text import printable
from runtime.prompts import MOST_LETTERS
from runtime.schema import Text

FORMAT: Literal["clap-export-labels"] = "clap-export-labels"
FORMAT_VERSION: Literal[1] = 1
HEAD_FORMAT: Literal["clap-export-head"] = "clap-export-head"
ARRAYS: dict[str, Any] = {"embeddings": np.float32, "meta": np.uint8}
OF_HEADS: dict[str, Any] = {"scales": np.float32, "biases": np.float32}
KNOWN = {**ARRAYS, **OF_HEADS}
LOCAL_HEADER = struct.Struct(
    "<4s22xHH"
)  # of a zip entry: mark, lengths of its name and extra field
MARK, ENCRYPTED = b"PK\x03\x04", 1
MOST_HEADER = 1 << 14  # bytes of an array's header; numpy's have 128
# Other writers may deflate. Embeddings become a tenth smaller by it and a text five times: more is
# made to fill memory.
MOST_SHRUNK, ALWAYS = 20, 1 << 16

# As Any: numpy 2.2, the last one for Python 3.10, has no types here.
_npy: Any = np.lib.format


@dataclass(frozen=True)
class Meta:
    """What a bank says beside its embeddings."""

    format: Literal["clap-export-labels"]
    format_version: Literal[1]
    space_id: Annotated[str, Text(255)]
    names: tuple[str, ...]
    templates: tuple[Annotated[str, Text(MOST_LETTERS)], ...]


@dataclass(frozen=True)
class HeadMeta:
    """What a head says beside its numbers."""

    format: Literal["clap-export-head"]
    format_version: Literal[1]
    space_id: Annotated[str, Text(255)]
    names: tuple[str, ...]
    head: About


@dataclass(frozen=True, eq=False)
class Content:
    """What could be read of a bank's file.

    Attributes:
        meta: or None.
        embeddings: or None.
        head: or None where there is none, or it cannot be read.
        problems: everything that is wrong with it.
    """

    meta: Meta | HeadMeta | None
    embeddings: NDArray[np.float32] | None
    head: Head | None
    problems: list[str]


class NotABank(Exception):
    """The file is cut off, or something else altogether."""


def write(
    file: BinaryIO,
    meta: Meta | HeadMeta,
    embeddings: NDArray[np.float32],
    head: Head | None = None,
) -> None:
    """Write a bank, or a head.

    Embeddings come first: behind headers of fixed length their data starts at byte 192, a multiple
    of 64, so that a mapped bank is aligned for vector loads.
    """
    more: dict[str, Any] = {}
    if head is not None:
        more = {"scales": head.scales, "biases": head.biases}
    text = json.dumps(schema.to_plain(meta), ensure_ascii=False)
    np.savez(
        file,
        embeddings=np.ascontiguousarray(embeddings),
        meta=np.frombuffer(text.encode("utf-8"), np.uint8),
        **more,
    )


def read(file: BinaryIO, mmap: bool) -> Content:
    """Read a bank from an open file: names and embeddings of one file, whatever is renamed.

    Args:
        file: open for reading.
        mmap: map the embeddings. A mapped file is not compared with its checksum.

    Raises:
        NotABank: nothing can be read.
        OSError: the file cannot be.
    """
    entries, problems = _entries(file)
    arrays: dict[str, NDArray[Any]] = {}
    for name, entry in entries.items():
        found = _array(file, name, entry, mmap and name == "embeddings", problems)
        if found is not None:
            arrays[name] = found
    kind = HeadMeta if any(name in entries for name in OF_HEADS) else Meta
    meta = _meta(arrays["meta"], kind, problems) if "meta" in arrays else None
    head = None
    if isinstance(meta, HeadMeta) and all(name in arrays for name in OF_HEADS):
        # What they are worth is for Head.problems.
        head = Head(arrays["scales"], arrays["biases"], meta.head)
    return Content(meta, arrays.get("embeddings"), head, problems)


def _entries(file: BinaryIO) -> tuple[dict[str, zipfile.ZipInfo], list[str]]:
    """Where the arrays lie, by the archive's directory."""
    try:
        infos = zipfile.ZipFile(file).infolist()
    except OSError:
        raise
    except Exception as error:  # of damaged directories: of struct, of codecs, its own, MemoryError
        raise NotABank(str(error) or type(error).__name__) from error
    names = [info.filename.removesuffix(".npy") for info in infos]
    entries = dict(zip(names, infos, strict=True))
    problems = [f"unknown array '{printable(n[:80])}'" for n in sorted(set(names) - set(KNOWN))]
    wanted = KNOWN if any(name in entries for name in OF_HEADS) else ARRAYS
    problems += [f"missing array '{name}'" for name in wanted if name not in entries]
    problems += [f"two arrays '{name}'" for name in KNOWN if names.count(name) > 1]
    return {name: entries[name] for name in KNOWN if name in entries}, problems[:20]


def _array(
    file: BinaryIO, name: str, entry: zipfile.ZipInfo, mmap: bool, problems: list[str]
) -> NDArray[Any] | None:
    start = _start(file, entry)
    if entry.compress_type == zipfile.ZIP_STORED:
        if entry.compress_size != entry.file_size:
            raise NotABank(f"'{name}' has two sizes")
        file.seek(start)
        head = file.read(min(MOST_HEADER, entry.file_size))
        data = None
    else:
        if mmap:
            raise NotABank("a compressed bank cannot be mapped")
        data = _inflated(file, start, entry)
        head = data[:MOST_HEADER]
    shape, dtype, fortran, offset = _header(head)
    if dtype != KNOWN[name]:
        what = "not the bytes of a text" if name == "meta" else "not float32"
        problems.append(f"{name} are {dtype}, {what}")
        return None
    if math.prod(shape) * dtype.itemsize != entry.file_size - offset:
        raise NotABank(f"'{name}' of shape {shape} has {entry.file_size - offset} bytes")
    order: Literal["C", "F"] = "F" if fortran else "C"
    if mmap:
        return np.memmap(file, dtype, "r", start + offset, shape, order)
    if data is None:
        file.seek(start)
        data = file.read(entry.file_size)
    if len(data) != entry.file_size or zlib.crc32(data) != entry.CRC:
        raise NotABank(f"'{name}' has another checksum (CRC) than it was written with")
    return np.ndarray(shape, dtype, data, offset, order=order)


def _start(file: BinaryIO, entry: zipfile.ZipInfo) -> int:
    """Where an entry's data begins."""
    size = os.fstat(file.fileno()).st_size
    if not 0 <= entry.header_offset <= size - LOCAL_HEADER.size:
        raise NotABank("an array lies outside of it")
    file.seek(entry.header_offset)
    mark, name_length, extra_length = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    if mark != MARK or entry.flag_bits & ENCRYPTED:
        raise NotABank("an array in it is encrypted, or is none")
    start = entry.header_offset + LOCAL_HEADER.size + name_length + extra_length
    if start + entry.compress_size > size:
        raise NotABank("an array is cut off")
    return start


def _inflated(file: BinaryIO, start: int, entry: zipfile.ZipInfo) -> bytes:
    """A deflated entry; no more memory is asked for than its compressed bytes justify."""
    if entry.compress_type != zipfile.ZIP_DEFLATED:
        raise NotABank("it is compressed in a way that is not read")
    if entry.file_size > MOST_SHRUNK * entry.compress_size + ALWAYS:
        raise NotABank("it is compressed beyond what embeddings can be")
    file.seek(start)
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(
            file.read(entry.compress_size), entry.file_size + 1
        )
    except zlib.error as error:
        raise NotABank(str(error)) from error


def _header(head: bytes) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    """Shape, type and order of an array, and the length of its header."""
    file = io.BytesIO(head)
    try:
        version = _npy.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise NotABank(f"array format {version} is not known")
        read_header = _npy.read_array_header_1_0 if version[0] == 1 else _npy.read_array_header_2_0
        shape, fortran, dtype = read_header(file)
    except NotABank:
        raise
    except Exception as error:  # it parses the header as Python: of the tokenizer, the parser, …
        raise NotABank(
            f"an array's header cannot be read ({printable(str(error)[:200])})"
        ) from error
    if dtype.hasobject:
        raise NotABank("arrays of objects are not read")
    if any(n < 0 for n in shape) or math.prod(shape) > 1 << 48:
        raise NotABank(f"an array has the shape {str(shape)[:80]}")
    return shape, dtype, fortran, file.tell()


def _meta(
    array: NDArray[Any], kind: type[Meta] | type[HeadMeta], problems: list[str]
) -> Meta | HeadMeta | None:
    if array.ndim != 1:
        problems.append(f"meta is {array.dtype} {array.shape}, not the bytes of a text")
        return None
    try:
        return schema.read(kind, schema.read_json(array.tobytes(), "meta", LabelError), "meta")
    except SchemaError as error:
        problems.append(str(error))
    except LabelError as error:
        problems.append(f"meta is not JSON ({error.__cause__})")
    return None
