"""A TensorRT whose engines are ONNX graphs run by ONNX Runtime, on the streams of a fake driver.

A plan is JSON: the graph, the ranges of its optimization profiles, its layers' types.
"""

from __future__ import annotations

import base64
import json
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

from runtime.engines import Engine
from tests.fakes.cuda import FakeCuda, Op

ACTIVATIONS = 4096


class TensorIOMode(IntEnum):
    INPUT = 1
    OUTPUT = 2


class DataType(IntEnum):
    FLOAT = 0
    INT32 = 3
    INT64 = 8


NUMPY = {DataType.FLOAT: np.float32, DataType.INT32: np.int32, DataType.INT64: np.int64}


def plan(onnx: Path, engine: Engine) -> bytes:
    """An engine file."""
    profiles = [
        {name: [list(r.min), list(r.max)] for name, r in profile.inputs.items()}
        for profile in engine.profiles
    ]
    return serialised(onnx.read_bytes(), profiles, [])


def serialised(onnx: bytes, profiles: list[dict[str, Any]], kinds: list[str]) -> bytes:
    """An engine file: the graph, the ranges of its profiles, and its layers' types."""
    model = base64.b64encode(onnx).decode()
    return json.dumps({"model": model, "profiles": profiles, "kinds": kinds}).encode()


def module(cuda: FakeCuda, version: str) -> Any:
    """What ``import tensorrt`` gives."""
    old = version.startswith("8.")

    class Engines:
        def __init__(self, log: Any) -> None:
            self.engine_host_code_allowed = False

        def deserialize_cuda_engine(self, data: bytes) -> Any:
            try:
                found = json.loads(data)
            except ValueError:
                return None
            return _Old(cuda, found) if old else _Engine(cuda, found)

    class Logger:
        ERROR = 1

        def __init__(self, severity: int) -> None: ...

    return SimpleNamespace(
        __version__=version,
        Logger=Logger,
        Runtime=Engines,
        ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="user"),
    )


class _Base:
    narrow = False  # int64 becomes int32

    def __init__(self, cuda: FakeCuda, found: dict[str, Any]) -> None:
        self.cuda, self.profiles = cuda, found["profiles"]
        self.session = onnxruntime.InferenceSession(base64.b64decode(found["model"]))
        self.kinds = found["kinds"]
        self.tensors = [*self.session.get_inputs(), *self.session.get_outputs()]
        self.num_io_tensors = len(self.tensors)
        self.num_optimization_profiles = len(self.profiles)

    def create_engine_inspector(self) -> Any:
        layers = [{"Outputs": [{"Format/Datatype": kind}]} for kind in self.kinds]
        return SimpleNamespace(
            get_engine_information=lambda form: json.dumps({"Layers": layers}),
        )

    def get_tensor_name(self, i: int) -> str:
        return self.tensors[i].name

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        outputs = {o.name for o in self.session.get_outputs()}
        return TensorIOMode.OUTPUT if name in outputs else TensorIOMode.INPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        (kind,) = (t.type for t in self.tensors if t.name == name)
        if kind == "tensor(int64)":
            return DataType.INT32 if self.narrow else DataType.INT64
        return DataType.FLOAT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        (shape,) = (t.shape for t in self.tensors if t.name == name)
        return tuple(n if isinstance(n, int) else -1 for n in shape)


class _Engine(_Base):
    device_memory_size_v2 = ACTIVATIONS

    def create_execution_context(self, strategy: str = "static") -> Any:
        return _Context(self)


class _Old(_Base):
    narrow = True
    device_memory_size = ACTIVATIONS

    def create_execution_context(self) -> Any:
        return _OldContext(self)

    def create_execution_context_without_device_memory(self) -> Any:
        return _OldContext(self)


class _Base2:
    def __init__(self, engine: _Base) -> None:
        self.engine, self.profile = engine, 0
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.memory = 0  # address of what it computes in
        self.captured = False
        self.ran = False

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        assert stream in self.engine.cuda.streams
        self.profile = profile
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert not self.captured, "the context of a captured graph was changed"
        low, high = self.engine.profiles[self.profile][name]
        if not all(a <= n <= b for a, n, b in zip(low, shape, high, strict=True)):
            return False
        self.shapes[name] = shape
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert not self.captured, "the context of a captured graph was changed"
        self.addresses[name] = address
        return True

    def execute_async_v3(self, handle: int) -> bool:
        cuda, engine = self.engine.cuda, self.engine
        memory = self.memory
        stream = cuda.streams[handle]
        if stream.captured is not None:
            assert self.ran, "the first run of a context cannot be captured"
            self.captured = True
        self.ran = True
        shapes, addresses = dict(self.shapes), dict(self.addresses)

        def run() -> None:
            cuda.bytes_at(memory, ACTIVATIONS)[:] = 1
            feed = {}
            for name, shape in shapes.items():
                kind = np.dtype(NUMPY[engine.get_tensor_dtype(name)])
                size = int(np.prod(shape)) * kind.itemsize
                feed[name] = cuda.bytes_at(addresses[name], size).view(kind).reshape(shape)
                if kind == np.int32:
                    feed[name] = feed[name].astype(np.int64)
            outputs = engine.session.get_outputs()
            for output, array in zip(outputs, engine.session.run(None, feed), strict=True):
                flat = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
                cuda.bytes_at(addresses[output.name], len(flat))[:] = flat

        cuda.put(handle, Op(run, touches=frozenset((*addresses.values(), memory)), milliseconds=5))
        return True


class _Context(_Base2):
    def set_device_memory(self, address: int, nbytes: int) -> None:
        assert nbytes >= ACTIVATIONS
        self.memory = address


class _OldContext(_Base2):
    @property
    def device_memory(self) -> int:
        return self.memory

    @device_memory.setter
    def device_memory(self, address: int) -> None:
        self.memory = address
