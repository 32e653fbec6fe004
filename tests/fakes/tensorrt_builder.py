"""The building half of the fake TensorRT: it parses ONNX, and its plans run in ``faketrt``."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from types import SimpleNamespace
from typing import Any

import onnx
import pytest

from clap_export.engine import toolchain
from runtime.backends import trt
from runtime.backends.cuda import driver
from runtime.backends.trt.dialect import Dialect
from runtime.engines import Library
from tests.fakes import tensorrt as faketrt
from tests.fakes.cuda import FakeCuda

PRODUCTS = {"MatMul": "MATRIX_MULTIPLY", "Gemm": "MATRIX_MULTIPLY", "Conv": "CONVOLUTION"}


class Kind(IntEnum):
    FLOAT = 0
    HALF = 1
    OTHER = 2


class Flag(IntEnum):
    FP16 = 0
    TF32 = 1
    OBEY_PRECISION_CONSTRAINTS = 2
    VERSION_COMPATIBLE = 3


class Network:
    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.model = b""
        self.layers: list[Any] = []
        self.inputs: list[Any] = []

    num_layers = property(lambda self: len(self.layers))
    num_inputs = property(lambda self: len(self.inputs))

    def get_layer(self, i: int) -> Any:
        return self.layers[i]

    def get_input(self, i: int) -> Any:
        return self.inputs[i]


class Parser:
    num_errors = 1

    def __init__(self, network: Network, log: Any) -> None:
        self.network = network

    def get_error(self, i: int) -> str:
        return "cannot be read"

    def parse(self, data: bytes) -> bool:
        try:
            model = onnx.load_model_from_string(data)
        except Exception:
            return False
        graph = onnx.shape_inference.infer_shapes(model).graph
        types = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output)}
        kinds = {1: Kind.FLOAT, 10: Kind.HALF}
        self.network.model = data
        self.network.inputs = [SimpleNamespace(name=i.name) for i in graph.input]
        for node in graph.node:
            kind = kinds.get(types.get(node.output[0], 0), Kind.OTHER)
            output = SimpleNamespace(name=node.output[0], dtype=kind, is_shape_tensor=False)
            layer = SimpleNamespace(
                type=SimpleNamespace(name=PRODUCTS.get(node.op_type, "OTHER")),
                num_outputs=1,
                get_output=lambda j, output=output: output,
                precision=None,
                asked={},
            )
            layer.set_output_type = layer.asked.__setitem__
            self.network.layers.append(layer)
        return True


class Config:
    """Takes whatever is set, and remembers it."""

    def __init__(self) -> None:
        self.flags = {Flag.TF32}
        self.profiles: list[Any] = []
        self.previews: dict[str, bool] = {}
        self.pools: dict[str, int] = {}
        self.cache: bytes | None = None

    def set_flag(self, flag: Flag) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: Flag) -> None:
        self.flags.discard(flag)

    def add_optimization_profile(self, profile: Any) -> None:
        self.profiles.append(profile)

    def set_preview_feature(self, feature: str, on: bool) -> None:
        self.previews[feature] = on

    def set_memory_pool_limit(self, pool: str, nbytes: int) -> None:
        self.pools[pool] = nbytes

    def create_timing_cache(self, data: bytes) -> Any:
        return SimpleNamespace(data=data)

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        if cache.data not in (b"", b"timings"):
            return False
        self.cache = cache.data
        return True

    def get_timing_cache(self) -> Any:
        return SimpleNamespace(serialize=lambda: b"timings")


def module(cuda: FakeCuda, version: str, half: bool = True) -> Any:
    """What ``import tensorrt`` gives, with a builder.

    Args:
        cuda: without a context of which it crashes, as the real one.
        version: of the library.
        half: whether it obeys when it is asked for FP16.
    """
    made = faketrt.module(cuda, version)
    old = version.startswith("8.")
    made.configs = []

    class Profile(dict):
        def set_shape(self, name: str, low: Any, best: Any, high: Any) -> None:
            self[name] = [list(low), list(high)]

    class Builder:
        def __init__(self, log: Any) -> None:
            assert cuda.cuMemGetInfo()[0] == 0, "the real one would crash without a GPU"

        def create_network(self, flags: int) -> Network:
            return Network(flags)

        def create_builder_config(self) -> Config:
            made.configs.append(Config())
            return made.configs[-1]

        def create_optimization_profile(self) -> Profile:
            return Profile()

        def build_serialized_network(self, network: Network, config: Config) -> bytes:
            if old:
                wanted = Flag.FP16 in config.flags
                kinds = [
                    layer.precision.name if wanted and layer.precision and half else "FLOAT"
                    for layer in network.layers
                ]
            else:
                assert network.flags == 2  # strongly typed
                kinds = [layer.get_output(0).dtype.name for layer in network.layers]
            monitor = getattr(config, "progress_monitor", None)
            if monitor is not None:
                monitor.phase_start("Timing", None, 2)
                assert monitor.step_complete("Timing", 0)
                monitor.phase_finish("Timing")
            return faketrt.serialised(network.model, config.profiles, kinds)

    class Monitor:
        def __init__(self) -> None: ...

    made.Builder, made.OnnxParser, made.BuilderFlag = Builder, Parser, Flag
    made.NetworkDefinitionCreationFlag = IntFlag(
        "Creation", {"EXPLICIT_BATCH": 0} if old else {"STRONGLY_TYPED": 1}
    )
    made.float32, made.float16 = Kind.FLOAT, Kind.HALF
    made.LayerType = SimpleNamespace(CONSTANT="constant")
    made.ProfilingVerbosity = SimpleNamespace(DETAILED=2)
    made.MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    made.HardwareCompatibilityLevel = SimpleNamespace(NONE=0, AMPERE_PLUS=1)
    made.LayerInformationFormat = SimpleNamespace(JSON=1)
    made.PreviewFeature = SimpleNamespace(PROFILE_SHARING_0806="sharing")
    if not old:
        made.IProgressMonitor = Monitor
    return made


def machine(monkeypatch: pytest.MonkeyPatch, version: str = "11.4.0.106", half: bool = True) -> Any:
    """A GPU of compute capability 9.0 and a TensorRT, both fake; returns the latter's module."""
    cuda = FakeCuda()
    made = module(cuda, version, half)

    def installed(library: Library | None = None) -> Dialect:
        return Dialect(made, "tensorrt")

    monkeypatch.setattr(driver, "bindings", lambda: driver.started(cuda))
    monkeypatch.setattr(toolchain, "installed", installed)
    monkeypatch.setattr(trt, "installed", installed)
    return made
