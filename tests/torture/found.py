"""Inputs that once ended a process, escaped a reader, or asked for all memory; each is refused now.

They are made by code, so that a change of a format changes them too. What a fuzzer finds, and no
short code makes, lies in ``corpus/READER/``: any file there is read as well.
"""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CORPUS = Path(__file__).with_name("corpus")
BRACKETS = b"[" * 100_000
ESCAPE = "\x1b[2J"
Make = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Known:
    """An input that once was found.

    Attributes:
        bad: it must be refused; else it may be read, too.
    """

    title: str
    content: bytes
    bad: bool


def inputs(reader: str, good: bytes) -> list[Known]:
    """What was found for a reader.

    Args:
        reader: its name.
        good: content of the good input, of the file of it that is changed.
    """
    made = [Known(title, make(good), True) for title, make in FOUND.get(reader, {}).items()]
    return made + [Known(path.name, path.read_bytes(), False) for path in kept(reader)]


def count(reader: str) -> int:
    """How many :func:`inputs` there are."""
    return len(FOUND.get(reader, {})) + len(kept(reader))


def kept(reader: str) -> list[Path]:
    """Files of ``corpus/`` for a reader."""
    folder = CORPUS / reader.replace(", ", "-").replace(" ", "-")
    return sorted(path for path in folder.glob("*") if path.name != "README.md")


def _json(*place: str | int, to: Any) -> Make:
    """A JSON document with one value replaced."""

    def change(data: bytes) -> bytes:
        document = json.loads(data)
        holder = document
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = to
        return json.dumps(document).encode()

    return change


def _is(data: bytes) -> Make:
    return lambda good: data


# -- graphs --


def _model(change: Callable[[onnx.GraphProto], None], *opsets: Any) -> Make:
    def make(data: bytes) -> bytes:
        model = onnx.load_model_from_string(data)
        change(model.graph)
        model.opset_import.extend(opsets)
        return model.SerializeToString()

    return make


def _external(location: str, offset: int = 0) -> Make:
    """The first float tensor lies elsewhere."""

    def change(graph: onnx.GraphProto) -> None:
        tensor = next(t for t in graph.initializer if t.data_type == TensorProto.FLOAT)
        length = len(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", offset), ("length", length)):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)

    return _model(change)


def _loop(graph: onnx.GraphProto) -> None:
    """Two to the 62 rounds before anything else."""
    inner = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Sin", ["a"], ["b"])],
        "body",
        [inner("i", TensorProto.INT64, []), inner("c", TensorProto.BOOL, []),
         inner("a", TensorProto.FLOAT, [])],
        [inner("d", TensorProto.BOOL, []), inner("b", TensorProto.FLOAT, [])],
    )  # fmt: skip
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value), name)
        for name, value in (("rounds", 2**62), ("true", True), ("half", np.float32(0.5)))
    )
    graph.node.append(helper.make_node("Loop", ["rounds", "true", "half"], ["end"], body=body))


def _filled(graph: onnx.GraphProto) -> None:
    """Half a tebibyte of zeros, made when the graph is loaded."""
    graph.initializer.append(numpy_helper.from_array(np.array([2**37]), "size"))
    graph.node.append(helper.make_node("ConstantOfShape", ["size"], ["zeros"]))


def _loud(graph: onnx.GraphProto) -> None:
    """Embeddings of a norm of a thousand."""
    graph.initializer.append(numpy_helper.from_array(np.float32(1000), "thousand"))
    graph.node[-1].output[0] = "unit"
    graph.node.append(helper.make_node("Mul", ["unit", "thousand"], ["embedding"]))


def _foreign(graph: onnx.GraphProto) -> None:
    graph.node.append(helper.make_node("Evil", ["waveform"], ["evil"], domain="evil"))


GRAPHS: dict[str, Make] = {
    "weights at an address of the process": _external("*/_ORT_MEM_ADDR_/*", 0x414141414140),
    "weights in a file that is not listed": _external("weights.bin"),
    "weights outside the folder": _external("../../etc/passwd"),
    "a loop without end": _model(_loop),
    "half a tebibyte of zeros": _model(_filled),
    "embeddings that are not of unit norm": _model(_loud),
    "operations of a library of its own": _model(_foreign, helper.make_opsetid("evil", 1)),
    "cut off": lambda data: data[:-100],
    "empty": _is(b""),
}


# -- tokenizers --

TOKENIZERS: dict[str, Make] = {
    "a table that ends the process": _json(
        "normalizer", to={"type": "Precompiled", "precompiled_charsmap": "/////w=="}
    ),
    "a special token of no vocabulary": _json(
        "post_processor", "single", 0, to={"SpecialToken": {"id": "x", "type_id": 0}}
    ),
    "a text that grows sixteenfold nine times": _json(
        "normalizer",
        to={
            "type": "Sequence",
            "normalizers": [
                {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 16}
            ] * 9,
        },
    ),
    "a pattern that takes for ever": _json(
        "pre_tokenizer",
        to={
            "type": "Split", "pattern": {"Regex": "(a*)*b"}, "behavior": "Isolated",
            "invert": False,
        },
    ),
    "nested brackets": _is(BRACKETS),
}  # fmt: skip


# -- manifests --

MANIFESTS: dict[str, Make] = {
    "a window of 2^31 samples": _json("audio", "window_samples", to=2**31),
    "a hop of one sample": _json("audio", "hop_samples", to=1),
    "a rate of a gigahertz": _json("audio", "sample_rate", to=10**9),
    "a pad id of 2^64": _json("text", "pad_id", to=2**64),
    "as many tokens": _json("text", "max_tokens", to=2**64),
    "a file outside the folder": _json("audio_graph", "file", to="../audio.onnx"),
    "a scale that is no number": _json("logit_scale", to=float("nan")),
    "a licence that clears the screen": _json("source", "licence", to=ESCAPE),
    "a licence that runs backwards": _json("source", "licence", to="\u202etim"),
    "half a character": _json("name", to="\ud800"),
    "a number of 400 digits": lambda data: data.replace(b"10.0", b"1" * 400),
    "nested brackets": _is(BRACKETS),
}


# -- label banks --


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


# -- checkpoints --


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
        header["__metadata__"]["clap_export"] = _json("config", *place, to=to)(described).decode()

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
        return _is(made.getvalue())

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


# -- recordings --


def _wav(channels: int, rate: int, data: bytes, *, kind: int = 1, bits: int = 16) -> bytes:
    size = bits // 8
    described = struct.pack(
        "<HHIIHH", kind, channels, rate, rate * channels * size & 0xFFFFFFFF,
        channels * size & 0xFFFF, bits,
    )  # fmt: skip
    body = b"WAVEfmt " + struct.pack("<I", 16) + described + b"data"
    body += struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _flac(rate: int, channels: int, frames: int) -> Make:
    """A header that states anything, and no sound."""

    def make(data: bytes) -> bytes:
        made = bytearray(data[: 4 + 4 + 34])
        stated = rate << 44 | (channels - 1) << 41 | 15 << 36 | frames
        made[4] |= 0x80  # the last of the headers
        made[18:26] = stated.to_bytes(8, "big")
        return bytes(made)

    return make


def _vorbis(data: bytes) -> bytes:
    """A rate of two gigahertz, by which it would last no time at all."""
    at = data.index(b"\x01vorbis") + 12
    end = data.index(b"OggS", at)
    page = bytearray(data[:at] + struct.pack("<I", 2_000_000_000) + data[at + 4 : end])
    page[22:26] = bytes(4)
    page[22:26] = struct.pack("<I", _ogg_sum(bytes(page)))
    return bytes(page) + data[end:]


def _ogg_sum(page: bytes) -> int:
    """The checksum of a page of Ogg (polynomial 0x04C11DB7, highest bit first)."""
    found = 0
    for byte in page:
        found ^= byte << 24
        for _ in range(8):
            found = found << 1 ^ (0x04C11DB7 if found & 0x80000000 else 0)
        found &= 0xFFFFFFFF
    return found


def _loud_samples() -> bytes:
    return np.full(8000, 1e20, np.float32).tobytes()


WAVS: dict[str, Make] = {
    "65535 channels": _is(_wav(65535, 48_000, bytes(1 << 18))),
    "no channels": _is(_wav(0, 48_000, bytes(4096))),
    "one hertz": _is(_wav(1, 1, bytes(4096))),
    "a gigahertz": _is(_wav(1, 10**9, bytes(4096))),
    "zero hertz": _is(_wav(1, 0, bytes(4096))),
    "two hours": _is(_wav(1, 1000, bytes(2 * 7200 * 1000))),
    "no samples": _is(_wav(1, 48_000, b"")),
    "a header alone": lambda data: data[:20],
}

FOUND: dict[str, dict[str, Make]] = {
    "manifest": MANIFESTS,
    "tokenizer": TOKENIZERS,
    "audio graph": GRAPHS,
    "audio graph, openvino": GRAPHS,
    "label bank": BANKS,
    "label file": {
        "a name of a megabyte": _is(b"x" * (1 << 20)),
        "no UTF-8": _is(b"dog\n\xff\xfe\n"),
        "a name that clears the screen": _is(b"dog\n" + ESCAPE.encode() + b"\n"),
        "nothing": _is(b""),
    },
    "checkpoint": CHECKPOINTS,
    "pickle": PICKLES,
    "transformers folder": {
        "nested brackets": _is(BRACKETS),
        "a million layers": _json("text_config", "num_hidden_layers", to=10**6),
        "a vocabulary of a thousand million": _json("text_config", "vocab_size", to=10**9),
        "not a table": _is(b"[]"),
    },
    "training config": {
        "nested brackets": _is(b"a = " + BRACKETS),
        "a number of 400 digits": lambda data: re.sub(
            rb"(?m)^seed = \d+", b"seed = " + b"1" * 400, data
        ),
        "a NUL": lambda data: data + b"\0",
    },
    "listing": {
        "a field of a megabyte": _is(b"path,label\n" + b"x" * (1 << 20) + b",dog\n"),
        "a NUL": _is(b"path,label\none.wav\0,dog\n"),
        "no UTF-8": _is(b"path,label\n\xff\xfe,dog\n"),
    },
    "wav": WAVS,
    "wav-float": {
        "finite, and far too loud": _is(_wav(1, 8000, _loud_samples(), kind=3, bits=32)),
        "not a number": _is(_wav(1, 8000, struct.pack("<f", np.nan) * 8000, kind=3, bits=32)),
    },
    "flac": {
        "an hour of eight channels in 42 bytes": _flac(655_350, 8, 655_350 * 3600),
        "2^31 frames in 42 bytes": _flac(48_000, 1, 2**31),
    },
    "vorbis": {"two gigahertz": _vorbis},
}
