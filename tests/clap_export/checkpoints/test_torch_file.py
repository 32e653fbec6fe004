"""Files of `torch.save` read by our own reader: what PyTorch gives, or one sentence, never code."""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import pickle
import random
import resource
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clap_export.checkpoints.pickles import Reader
from clap_export.checkpoints.torch_file import read
from runtime.errors import ClapError
from tests import tiny

BASE = torch.arange(24.0).reshape(4, 6)


def saved_things() -> dict[str, Any]:
    """What training scripts save, and tensors of every form that they take."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimiser = torch.optim.Adam(model.parameters())
    model(torch.ones(5, 3)).sum().backward()
    optimiser.step()
    return {
        "whole": BASE, "transposed": BASE.t(), "strided": BASE[1:3, ::2], "view": BASE[2],
        "bfloat16": torch.ones(3).bfloat16(), "half": torch.ones(3).half(),
        "double": torch.ones(2).double(), "int": torch.arange(5), "empty": torch.ones(0, 3),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(3.0), "parameter": torch.nn.Parameter(torch.ones(2)),
        "model": model.state_dict(), "optimiser": optimiser.state_dict(), "best": np.float64(0.8),
        "array": np.arange(6).reshape(2, 3), "fortran": np.asfortranarray(np.eye(3, dtype="f4")),
        "tuple": (np.arange(2), "x"), "args": argparse.Namespace(lr=1e-3, device=None),
        "order": collections.OrderedDict(a=1), "size": torch.Size([1, 2]), "large": 10**12,
        "negative": -5, "set": {1, 2}, "long": "x" * 300, "bytes": b"ab", "bools": np.ones(2, bool),
    }  # fmt: skip


def assert_same(want: Any, got: Any) -> None:
    if isinstance(want, torch.Tensor):
        assert torch.equal(want, got)
        assert (want.dtype, want.stride()) == (got.dtype, got.stride())
    elif isinstance(want, dict):
        assert list(want) == list(got)
        for key, value in want.items():
            assert_same(value, got[key])
    elif isinstance(want, tuple | list):
        assert len(want) == len(got)
        for one, other in zip(want, got, strict=True):
            assert_same(one, other)
    elif isinstance(want, np.ndarray):
        assert want.dtype == got.dtype
        np.testing.assert_array_equal(want, got)
    else:
        assert want == got


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_everything_comes_back(zipped: bool, protocol: int, tmp_path: Path) -> None:
    things = saved_things()
    torch.save(things, tmp_path / "a.pt", pickle_protocol=protocol,
               _use_new_zipfile_serialization=zipped)  # fmt: skip
    got = read(tmp_path / "a.pt")
    assert_same(things, got)
    # Tensors of one storage still share it.
    assert got["whole"].data_ptr() == got["transposed"].data_ptr()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_is_what_pytorch_reads(zipped: bool, tmp_path: Path) -> None:
    path = tiny.save(tmp_path / "m.pt", "htsat", "gpt2-last")
    if not zipped:
        torch.save(torch.load(path), path, _use_new_zipfile_serialization=False)
    want = torch.load(path, map_location="cpu", weights_only=True)
    assert_same(want["state_dict"], read(path)["state_dict"])
    assert {k: v for k, v in read(path).items() if k != "state_dict"} == {
        k: v for k, v in want.items() if k != "state_dict"
    }


def zipped(path: Path, body: bytes, **storages: bytes) -> Path:
    """A zip as PyTorch writes it, around any pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", body)
        archive.writestr("a/byteorder", "little")
        archive.writestr("a/version", "3\n")
        for name, content in storages.items():
            archive.writestr(f"a/data/{name.removeprefix('s')}", content)
    return path


def text(value: str) -> bytes:
    return pickle.BINUNICODE + struct.pack("<I", len(value)) + value.encode()


def name(module: str, attribute: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()


def number(value: int) -> bytes:
    raw = value.to_bytes(9, "little", signed=True)
    return pickle.LONG1 + bytes([len(raw)]) + raw


def numbers(*values: int) -> bytes:
    return pickle.MARK + b"".join(map(number, values)) + pickle.TUPLE


def storage(kind: str = "FloatStorage", key: str = "0", count: int = 4) -> bytes:
    parts = [text("storage"), name("torch", kind), text(key), text("cpu"), number(count)]
    return pickle.MARK + b"".join(parts) + pickle.TUPLE + pickle.BINPERSID


def tensor(offset: int, sizes: bytes, strides: bytes, of: bytes | None = None) -> bytes:
    parts = [of or storage(), number(offset), sizes, strides, pickle.NEWFALSE, pickle.EMPTY_DICT]
    made = name("torch._utils", "_rebuild_tensor_v2")
    return made + pickle.MARK + b"".join(parts) + pickle.TUPLE + pickle.REDUCE


FOUR = np.arange(4, dtype="f4").tobytes()
VECTOR = tensor(0, numbers(4), numbers(1))
HUGE = 2**61
UNSOUND = {
    "beyond the end": tensor(1, numbers(4), numbers(1)),
    "beyond the end by its stride": tensor(0, numbers(2, 2), numbers(4, 1)),
    "negative offset": tensor(-1, numbers(1), numbers(1)),
    "negative size": tensor(0, numbers(-1), numbers(1)),
    "negative stride": tensor(3, numbers(4), numbers(-1)),
    "values made of one": tensor(0, numbers(10**9), numbers(0)),
    "huge": tensor(0, numbers(HUGE, HUGE), numbers(1, 1)),
    "huge and empty": tensor(0, numbers(0, HUGE, HUGE), numbers(1, 1, 1)),
    "more strides than sizes": tensor(0, numbers(2), numbers(1, 1)),
    "seventeen axes": tensor(0, numbers(*[1] * 17), numbers(*[1] * 17)),
    "sizes that are bools": tensor(0, pickle.NEWTRUE + pickle.TUPLE1, numbers(1)),
    "no storage": tensor(0, numbers(4), numbers(1), pickle.NONE),
    "a storage of another length": tensor(0, numbers(4), numbers(1), storage(count=HUGE)),
    "a storage that is not there": tensor(0, numbers(4), numbers(1), storage(key="1")),
    "a storage of two types": VECTOR + tensor(0, numbers(4), numbers(1), storage("IntStorage")),
    "a storage outside": tensor(0, numbers(4), numbers(1), storage(key="../../byteorder")),
    "complex": tensor(0, numbers(2), numbers(1), storage("ComplexFloatStorage", count=2)),
    "a call of a tensor": VECTOR + pickle.EMPTY_TUPLE + pickle.REDUCE,
    "state for a tensor": VECTOR + pickle.EMPTY_DICT + pickle.BUILD,
}


@pytest.mark.parametrize("fault", UNSOUND)
def test_a_tensor_that_its_storage_does_not_hold(fault: str, tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.pt", b"\x80\x02" + UNSOUND[fault] + pickle.STOP, s0=FOUR)
    with pytest.raises(ClapError, match=r"a\.pt"):
        read(path)


def test_a_storage_is_not_used_over_and_over(tmp_path: Path) -> None:
    """A tensor of it costs few bytes in a file, and all of its own once it is copied."""
    one = tensor(0, numbers(4000), numbers(1), storage(count=4000))
    for times, fits in ((2, True), (1000, False)):
        body = b"\x80\x02" + pickle.MARK + one * times + pickle.LIST + pickle.STOP
        path = zipped(tmp_path / "a.pt", body, s0=bytes(16_000))
        if fits:
            assert len(read(path)) == times
        else:
            with pytest.raises(ClapError, match="share their storages"):
                read(path)


def test_the_pickles_of_these_tests_are_sound_otherwise(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.pt", b"\x80\x02" + VECTOR + pickle.STOP, s0=FOUR)
    assert read(path).tolist() == [0, 1, 2, 3]
    assert torch.load(path, weights_only=True).tolist() == [0, 1, 2, 3]


def numpy_dtype(kind: str) -> bytes:
    made = name("numpy", "dtype") + text(kind) + pickle.NEWFALSE + pickle.NEWTRUE
    return made + pickle.TUPLE3 + pickle.REDUCE


def with_fields() -> bytes:
    """A float type that is told to hold an object: its scalars would be pointers of the file."""
    fields = pickle.EMPTY_DICT + text("f") + numpy_dtype("f8") + number(0) + pickle.TUPLE2
    state = [number(3), text("<"), pickle.NONE, text("f") + pickle.TUPLE1, fields + pickle.SETITEM]
    rest = [number(8), number(8), number(0)]
    return numpy_dtype("f8") + pickle.MARK + b"".join(state + rest) + pickle.TUPLE + pickle.BUILD


OBJECTS = {
    "objects": numpy_dtype("O8"),
    "records": numpy_dtype("V8"),
    "texts": numpy_dtype("U4"),
    "dates": numpy_dtype("M8"),
    "fields": with_fields(),
    "a scalar of them": name("numpy.core.multiarray", "scalar") + with_fields()
    + pickle.SHORT_BINBYTES + b"\x08AAAAAAAA" + pickle.TUPLE2 + pickle.REDUCE,
}  # fmt: skip


@pytest.mark.parametrize("kind", OBJECTS)
def test_numpy_values_that_are_no_numbers(kind: str, tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.pt", b"\x80\x02" + OBJECTS[kind] + pickle.STOP)
    with pytest.raises(ClapError, match=r"it asks for .*numpy"):
        read(path)


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (lambda: torch.eye(3).to_sparse(), "sparse tensors"),
        (lambda: torch.eye(3).to_sparse_csr(), "sparse tensors"),
        (lambda: torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8), "QInt8|quantised"),
        (lambda: torch.ones(2, dtype=torch.complex64), "ComplexFloatStorage"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_other_tensors_are_refused_by_name(
    made: Callable[[], torch.Tensor], what: str, tmp_path: Path
) -> None:
    torch.save({"x": made()}, tmp_path / "a.pt")
    with pytest.raises(ClapError, match=what):
        read(tmp_path / "a.pt")


def test_a_damaged_file_is_called_damaged(tmp_path: Path) -> None:
    """Only what asks for a foreign name "could run code"."""
    raw = pickle.dumps({"a": [1, 2, 3], "b": "text"}, protocol=2)
    for at in range(2, len(raw)):
        path = tmp_path / "a.pt"
        path.write_bytes(raw[:at])
        with pytest.raises(ClapError, match="damaged or no file of") as caught:
            read(path)
        assert "run code" not in str(caught.value)


def test_the_containers_of_a_zip_are_checked(tmp_path: Path) -> None:
    body = b"\x80\x02" + VECTOR + pickle.STOP
    path = zipped(tmp_path / "a.pt", body, s0=FOUR)
    for content, message in (
        (lambda archive: archive.writestr("a/data.pkl", body, zipfile.ZIP_DEFLATED), "compressed"),
        (lambda archive: archive.writestr("b.txt", "x"), "no data.pkl"),
        (
            lambda archive: (archive.writestr("a/data.pkl", body),
                             archive.writestr("a/byteorder", "big")),
            "byte order",
        ),
    ):  # fmt: skip
        with zipfile.ZipFile(path, "w") as archive:
            content(archive)
        with pytest.raises(ClapError, match=message):
            read(path)


def bomb() -> bytes:
    """One list of pairs, made into a dict again and again."""
    pairs = b"".join(number(n) + pickle.NONE + pickle.TUPLE2 for n in range(1000))
    whole = pickle.MARK + pairs + pickle.LIST + pickle.BINPUT + b"\x00" + pickle.POP
    one = name("collections", "OrderedDict") + pickle.BINGET + b"\x00" + pickle.TUPLE1
    return b"\x80\x02" + whole + pickle.MARK + (one + pickle.REDUCE) * 5000 + pickle.LIST


def test_a_small_file_does_not_unfold_into_a_large_one(tmp_path: Path) -> None:
    doubled = pickle.EMPTY_TUPLE + (pickle.MEMOIZE + pickle.BINGET + b"\x00" + pickle.TUPLE2) * 60
    shared = b"\x80\x04" + pickle.EMPTY_TUPLE
    for n in range(60):
        shared += pickle.MEMOIZE + pickle.BINGET + bytes([n]) + pickle.TUPLE2
    for body in (bomb() + pickle.STOP, shared + pickle.EMPTY_DICT + pickle.STOP, doubled):
        path = zipped(tmp_path / "a.pt", body)
        tracemalloc.start()
        with contextlib.suppress(ClapError):
            read(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 200 * len(body) + 1_000_000
    key = b"\x80\x04}" + shared[2:] + pickle.NONE + pickle.SETITEM + pickle.STOP
    with pytest.raises(ClapError, match="a key that is a tuple"):  # its hash would take for ever
        read(zipped(tmp_path / "a.pt", key))


OPCODES = [
    value
    for attribute, value in vars(pickle).items()
    if attribute.isupper() and isinstance(value, bytes) and len(value) == 1
]
NAMES = [
    name("torch._utils", "_rebuild_tensor_v2"), name("torch._utils", "_rebuild_parameter"),
    name("torch._tensor", "_rebuild_from_type_v2"), name("collections", "OrderedDict"),
    name("numpy", "dtype"), name("numpy.core.multiarray", "scalar"),
    name("torch", "FloatStorage"), name("argparse", "Namespace"),
    name("numpy.core.multiarray", "_reconstruct"), name("copyreg", "_reconstructor"),
    name("numpy._core.numeric", "_frombuffer"), name("builtins", "set"),
    name("builtins", "eval"), name("os", "system"), name("torch", "Size"),
    name("_codecs", "encode"),
]  # fmt: skip


def program(rng: random.Random) -> bytes:
    """Opcodes at random, with arguments that are often sound."""
    pieces = [
        *NAMES, storage(), VECTOR, numpy_dtype("f8"), with_fields(), numbers(2, 2), text("f"),
        pickle.SHORT_BINBYTES + b"\x08" + bytes(8), *(bytes([op[0], 0]) for op in OPCODES),
        *OPCODES, *(pickle.REDUCE, pickle.BUILD, pickle.TUPLE1, pickle.TUPLE2, pickle.MARK) * 5,
    ]  # fmt: skip
    return b"\x80\x02" + b"".join(rng.choices(pieces, k=rng.randrange(1, 40))) + pickle.STOP


def mutated(raw: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, taken out, doubled or replaced by an opcode."""
    found = bytearray(raw)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(found))
        kind = rng.randrange(4)
        if kind == 0:
            found[at] = rng.randrange(256)
        elif kind == 1:
            found[at] = rng.choice(OPCODES)[0]
        elif kind == 2:
            del found[at : at + rng.randrange(1, 9)]
        else:
            found[at:at] = found[at : at + rng.randrange(1, 30)]
        found = found or bytearray(b"\x80")
    return bytes(found)


def fuzz(count: int, seed: int, path: Path) -> int:
    """Read random files; anything but an object or a `ClapError` escapes. How many were read."""
    rng, things, done = random.Random(seed), saved_things(), 0
    seeds: list[bytes] = []
    for flag in (True, False):
        buffer = io.BytesIO()
        torch.save(things, buffer, _use_new_zipfile_serialization=flag)
        seeds.append(buffer.getvalue())
    with zipfile.ZipFile(io.BytesIO(seeds[0])) as archive:
        main = next(n for n in archive.namelist() if n.endswith("data.pkl"))
        body = archive.read(main)
        parts = {
            f"s{n.rsplit('/', 1)[1]}": archive.read(n) for n in archive.namelist() if "/data/" in n
        }
    for index in range(count):
        if index % 4 == 0:
            zipped(path, program(rng), s0=FOUR)
        elif index % 4 == 1:
            zipped(path, mutated(body, rng), **parts)
        else:
            path.write_bytes(mutated(seeds[index % 2], rng))
        try:
            read(path)
            done += 1
        except ClapError:
            continue
    return done


def test_random_programs_end_in_a_sentence(tmp_path: Path) -> None:
    assert fuzz(400, 1, tmp_path / "a.pt") > 0


@pytest.mark.slow
def test_ten_thousand_random_programs(tmp_path: Path) -> None:
    fuzz(300, 2, tmp_path / "a.pt")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fuzz(10_000, 3, tmp_path / "a.pt")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


def test_the_reader_alone_refuses_what_it_does_not_know() -> None:
    for body in (b"", b"N", b"\x80\x02c", b"(lp0\n.", b"\x80\x02}q\xff"):
        with pytest.raises(ValueError, match=r"."):
            Reader(body).read()
