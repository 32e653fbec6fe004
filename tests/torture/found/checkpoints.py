"""Checkpoints that ask for all memory, and pickles that ask for more than values."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from typing import Any

from tests.torture.found.change import BRACKETS, Make, holding, replaced


def _safetensors(change: Callable[[dict[str, Any]], None]) -> Make:
    """A checkpoint with its header changed."""

    def make(data: bytes) -> bytes:
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + data[8 + length :]

    return make


def _config(*place: str, to: Any) -> Make:
    def change(header: dict[str, Any]) -> None:
        described = header["__metadata__"]["clap_export"].encode()
        header["__metadata__"]["clap_export"] = replaced("config", *place, to=to)(
            described
        ).decode()

    return _safetensors(change)


def _metadata(text: str) -> Make:
    return _safetensors(lambda header: header["__metadata__"].update(clap_export=text))


CHECKPOINTS: dict[str, Make] = {
    "a million layers": _config("text_encoder", "options", "num_hidden_layers", to=10**6),
    "a vocabulary of a thousand million": _config(
        "text_encoder", "options", "vocab_size", to=10**9
    ),
    "heads that divide by zero": _config("text_encoder", "options", "num_attention_heads", to=0),
    "a transform of a gigasample": _config("audio", "mel", "n_fft", to=10**9),
    "nested brackets": _metadata(BRACKETS.decode()),
    "a header longer than the file": lambda data: struct.pack("<Q", 1 << 60) + data[8:],
    "cut off": lambda data: data[:-1000],
}


class _Pickled:
    """A pickle, an instruction at a time."""

    @staticmethod
    def file(*instructions: bytes) -> Make:
        """As ``torch.save`` lays it out."""
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive:
            archive.writestr("b/data.pkl", b"\x80\x02" + b"".join(instructions) + b".")
            archive.writestr("b/version", b"3\n")
        return holding(made.getvalue())

    @staticmethod
    def name(module: str, name: str) -> bytes:
        return f"c{module}\n{name}\n".encode()

    @staticmethod
    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value.encode()


_type = _Pickled.name("numpy", "dtype") + b"(" + _Pickled.text("f8") + b"\x89\x88tR"
_object = _Pickled.name("numpy", "dtype") + b"(" + _Pickled.text("O") + b"\x89\x88tR"

PICKLES: dict[str, Make] = {
    "a call": _Pickled.file(_Pickled.name("os", "system"), b"(", _Pickled.text("true"), b"tR"),
    "an import by the other opcode": _Pickled.file(
        _Pickled.text("os"), _Pickled.text("system"), b"\x93(", _Pickled.text("true"), b"tR"
    ),
    # A type of numpy that is told by its own state to hold objects: bytes become pointers.
    "bytes as pointers": _Pickled.file(
        _Pickled.name("numpy.core.multiarray", "scalar"), b"(", _type,
        b"(K\x03", _Pickled.text("<"), b"N(", _Pickled.text("f"), b"t}", _Pickled.text("f"),
        b"(", _object, b"K\x00tsK\x08K\x08K\x00tb",
        b"C\x08" + struct.pack("<Q", 0x414141414140), b"tR",
    ),
    "a set of what the file chose": _Pickled.file(
        _Pickled.name("builtins", "set"), b"(", _object, b"tR"
    ),
    "a tensor over more than its storage": _Pickled.file(
        _Pickled.name("torch._utils", "_rebuild_tensor_v2"), b"((", _Pickled.text("storage"),
        _Pickled.name("torch", "FloatStorage"), _Pickled.text("0"), _Pickled.text("cpu"),
        b"M\xff\xfftQK\x00(J\xff\xff\xff\x7ft(K\x00t\x89}tR",
    ),
    "ten thousand lists in lists": _Pickled.file(b"(" * 10_000, b"l" * 10_000),
    "no pickle": _Pickled.file(b"\xff" * 100),
}  # fmt: skip

FOUND = {"checkpoint": CHECKPOINTS, "pickle": PICKLES}
