"""Files of `torch.save`, read without running any code and without believing their numbers.

Two formats are in use: a zip with the pickle and a file for each storage (since PyTorch 1.6), and
before that several pickles one after the other, then the storages. In both the pickle says of each
tensor which stretch of which storage it is.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clap_export.checkpoints.pickled_numpy import ForeignError, PickleError, checked_sizes
from clap_export.checkpoints.pickles import Name, Reader
from runtime.errors import ClapError

MAX_PICKLE_BYTES = 256 << 20  # of the part beside the storages; files of ours hold a tokenizer too
# Tied weights are two tensors of one storage, an optimiser's flat storage is cut into many. More
# than that is a small file that unfolds into a large one.
MAX_VIEWS = 4
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001

_KINDS = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16,
    "BFloat16": torch.bfloat16, "Long": torch.int64, "Int": torch.int32, "Short": torch.int16,
    "Char": torch.int8, "Byte": torch.uint8, "Bool": torch.bool,
}  # fmt: skip
_STORAGES = {f"torch.{kind}Storage": dtype for kind, dtype in _KINDS.items()}
# Known, and not for a model that computes with plain numbers.
_OTHER_TENSORS = {
    "torch._utils._rebuild_sparse_tensor": "sparse tensors",
    "torch._utils._rebuild_sparse_csr_tensor": "sparse tensors",
    "torch._utils._rebuild_qtensor": "quantised tensors",
    "torch._utils._rebuild_nested_tensor": "nested tensors",
    "torch._utils._rebuild_meta_tensor_no_storage": "tensors without values",
    "torch._utils._rebuild_tensor_v3": "tensors of a type that models of this kind do not have",
}


@dataclass(frozen=True)
class Storage:
    """A flat run of numbers; ``None`` while a legacy file's storages are still to be read."""

    values: Tensor | None


def is_torch_file(head: bytes) -> bool:
    """Told by the first 16 bytes: a zip, or in old versions a bare pickle (protocol 2 and up).

    A safetensors file starts with the header's length in 8 bytes, then the header's brace.
    """
    if head[8:9] == b"{":
        return False
    return head[:4] == b"PK\x03\x04" or (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05")


def read(path: Path) -> Any:
    """The object that was saved: tensors, numbers, texts and containers of them.

    Raises:
        ClapError: it is damaged, it asks for anything that could run code, or it holds tensors that
            are no plain ones.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
            file.seek(0)
            return _read_zip(file) if head[:2] == b"PK" else _read_legacy(file)
    except ForeignError as error:
        raise ClapError(
            f"{path} is a pickle that holds more than tensors and numbers, so it could run code "
            f"when opened and was refused ({error}). Save its state dict as safetensors."
        ) from error
    except OSError as error:
        raise ClapError(f"{path} cannot be read ({error.strerror or error}).") from error
    except Exception as error:  # a damaged zip fails in many ways
        raise ClapError(
            f"{path} cannot be read ({_first_line(error)}). It is damaged or no file of "
            "torch.save: copy it again, or save its state dict as safetensors."
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0] or type(error).__name__


class _Tensors:
    """What the names of PyTorch in a pickle become.

    Args:
        storage: the storage of a key, with its number type and length checked.
        size: bytes of the file: what all tensors together may be a small multiple of.
    """

    def __init__(self, storage: Callable[[str, torch.dtype, int], Storage], size: int) -> None:
        self._storage = storage
        self._left = MAX_VIEWS * size
        self.makers: dict[str, Callable[..., Any]] = {
            "torch._utils._rebuild_tensor": self.tensor,
            "torch._utils._rebuild_tensor_v2": self.tensor,
            "torch._utils._rebuild_parameter": lambda data, *_: _is_tensor(data),
            "torch._utils._rebuild_parameter_with_state": lambda data, *_: _is_tensor(data),
            "torch._tensor._rebuild_from_type_v2": self.typed,
            "torch.Size": lambda sizes: checked_sizes(sizes),
            "torch.serialization._get_layout": str,
            "torch.device": lambda *parts: ":".join(map(str, parts)),
            **{name: _refuse(what) for name, what in _OTHER_TENSORS.items()},
        }

    def persistent(self, key: Any) -> Storage:
        """A storage: ``("storage", type, key, device, length)``, in old files with a view's cut."""
        if not isinstance(key, tuple) or len(key) not in (5, 6) or key[0] != "storage":
            raise PickleError("a reference that is no storage's")
        kind, name, count = key[1], key[2], key[4]
        if not isinstance(kind, Name) or str(kind) not in _STORAGES:
            raise ForeignError(f"it asks for {kind}" if isinstance(kind, Name) else "no storage")
        if key[5:] not in ((), (None,)) or not isinstance(name, str) or type(count) is not int:
            raise PickleError("a reference that is no storage's")
        return self._storage(name, _STORAGES[str(kind)], count)

    def tensor(self, storage: Any, offset: Any, sizes: Any, strides: Any, *_: Any) -> Tensor | None:
        """A stretch of a storage.

        Raises:
            PickleError: it goes beyond the storage, or repeats its values.
        """
        if not isinstance(storage, Storage):
            raise PickleError("a tensor without a storage")
        sizes, strides = checked_sizes(sizes), checked_sizes(strides)
        (offset,) = checked_sizes((offset,))
        if len(sizes) != len(strides):
            raise PickleError("a tensor with another number of sizes than of strides")
        if storage.values is None:
            return None
        count = 1
        for n in sizes:
            count *= n
        last = offset + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
        there = storage.values.numel()
        if count and last >= there:
            raise PickleError(f"a tensor that ends at {last + 1} of a storage of {there} values")
        if count > there:
            raise PickleError(f"a tensor that makes {count} values of a storage's {there}")
        if not count:
            return storage.values.new_empty(sizes)
        self._left -= count * storage.values.element_size()
        if self._left < 0:
            raise PickleError("tensors that share their storages over and over")
        return storage.values.as_strided(sizes, strides, offset)

    def typed(self, maker: Any, _kind: Any, arguments: Any, _state: Any = None) -> Any:
        """A tensor with attributes, which are left out."""
        if not isinstance(maker, Name) or str(maker) not in self.makers:
            raise ForeignError(f"it asks for {maker}" if isinstance(maker, Name) else "no tensor")
        if str(maker).endswith("_rebuild_from_type_v2"):
            raise PickleError("a tensor that is wrapped twice")
        return self.makers[str(maker)](*arguments)


def _is_tensor(data: Any) -> Any:
    if data is not None and not isinstance(data, Tensor):
        raise PickleError("a parameter that is no tensor")
    return data


def _refuse(what: str) -> Callable[..., Any]:
    def refuse(*_: Any) -> Any:
        raise PickleError(f"it holds {what}")

    return refuse


def _values(raw: bytearray, dtype: torch.dtype) -> Tensor:
    if dtype == torch.bool:  # a byte other than 0 and 1 is no bool
        return torch.frombuffer(raw, dtype=torch.uint8) != 0 if raw else torch.empty(0, dtype=dtype)
    return torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)


def _read_zip(file: Any) -> Any:
    size = file.seek(0, io.SEEK_END)
    archive = zipfile.ZipFile(file)
    entries = {entry.filename: entry for entry in archive.infolist()}
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
        raise PickleError("its parts are compressed")
    if sum(entry.file_size for entry in entries.values()) > size:
        raise PickleError("its parts are larger than the file")
    main = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(main) != 1:
        raise PickleError("no data.pkl in it")
    if entries[main[0]].file_size > MAX_PICKLE_BYTES:
        raise PickleError(f"a data.pkl of {entries[main[0]].file_size} bytes")
    folder = main[0].removesuffix("data.pkl")
    if f"{folder}byteorder" in entries and archive.read(f"{folder}byteorder") != b"little":
        raise PickleError("it was written by a machine of another byte order")
    found: dict[str, Storage] = {}

    def storage(key: str, dtype: torch.dtype, count: int) -> Storage:
        if key not in found:
            entry = entries.get(f"{folder}data/{key}")
            if entry is None:
                raise PickleError(f"no storage {key[:40]!r} in it")
            if entry.file_size != count * dtype.itemsize:
                raise PickleError(
                    f"a storage of {entry.file_size} bytes for {count} values of {dtype}"
                )
            raw = bytearray(entry.file_size)
            with archive.open(entry) as part:
                if part.readinto(raw) != len(raw):
                    raise PickleError(f"storage {key[:40]!r} ends early")
            found[key] = Storage(_values(raw, dtype))
        return _same_type(found[key], key, dtype, count)

    tensors = _Tensors(storage, size)
    return Reader(archive.read(main[0]), 0, tensors.makers, tensors.persistent).read()


def _same_type(storage: Storage, key: str, dtype: torch.dtype, count: int) -> Storage:
    values = storage.values
    if values is not None and (values.dtype, values.numel()) != (dtype, count):
        raise PickleError(f"storage {key[:40]!r} is of two types")
    return storage


def _read_legacy(file: Any) -> Any:
    """Magic number, protocol and system as pickles; the object; its storages' keys; the storages.

    A file of `pickle.dump` has the object alone, and cannot hold tensors.
    """
    data = memoryview(file.read())
    if bytes(data[257:262]) == b"ustar":
        raise PickleError("the tar format of PyTorch before 0.1.10: save it again with a newer one")
    first = Reader(data, makers={})
    value = first.read()
    if value != LEGACY_MAGIC:
        return value
    position = first.position
    for wanted in (LEGACY_PROTOCOL, dict):
        part = Reader(data, position)
        value = part.read()
        if value != wanted and not isinstance(value, dict):
            raise PickleError("a version of the format that is not known")
        position = part.position
    if value.get("little_endian") is not True:
        raise PickleError("it was written by a machine of another byte order")
    # First which storages there are: they lie behind the object that is made of them.
    known: dict[str, tuple[torch.dtype, int]] = {}

    def announced(key: str, dtype: torch.dtype, count: int) -> Storage:
        if known.setdefault(key, (dtype, count)) != (dtype, count):
            raise PickleError(f"storage {key[:40]!r} is of two types")
        return Storage(None)

    scout = _Tensors(announced, len(data))
    reader = Reader(data, position, scout.makers, scout.persistent)
    reader.read()
    listing = Reader(data, reader.position)
    keys = listing.read()
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(known):
        raise PickleError("other storages than its tensors are made of")
    found, at = {}, listing.position
    for key in keys:
        dtype, count = known[key]
        end = at + 8 + count * dtype.itemsize
        if int.from_bytes(data[at : at + 8], "little") != count or end > len(data):
            raise PickleError(f"storage {key[:40]!r} ends early")
        found[key] = Storage(_values(bytearray(data[at + 8 : end]), dtype))
        at = end
    tensors = _Tensors(lambda key, *_: found[key], len(data))
    return Reader(data, position, tensors.makers, tensors.persistent).read()
