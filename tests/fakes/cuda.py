"""A CUDA driver made of numpy that keeps the real one's promises, and no others.

Work put on a stream runs late: only when the host waits, and then in an order that is random
among streams, but for what events say. So a missing wait, a buffer overwritten too early or freed
too soon gives wrong numbers or an error here as it would on a GPU, and more often.
"""

from __future__ import annotations

import ctypes
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count
from typing import Any

import numpy as np

from tests.fakes import ptx as fakeptx


class Status(IntEnum):
    SUCCESS = 0
    INVALID_VALUE = 1
    OUT_OF_MEMORY = 2
    NO_DEVICE = 100
    INVALID_CONTEXT = 201
    INVALID_PTX = 218
    INVALID_HANDLE = 400
    NOT_FOUND = 500
    STREAM_CAPTURE_UNSUPPORTED = 900
    STREAM_CAPTURE_INVALIDATED = 901


class CUdevice_attribute(IntEnum):
    MAJOR = 75
    MINOR = 76


class CUstreamCaptureMode(IntEnum):
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1


@dataclass(eq=False)
class Mark:
    """One recording of an event."""

    time: float | None = None


@dataclass(eq=False)
class Event:
    timing: bool
    mark: Mark | None = None
    live: bool = True


@dataclass(eq=False)
class Op:
    """Something that a stream does."""

    run: Callable[[], None]
    ready: Callable[[], bool] = lambda: True
    touches: frozenset[int] = frozenset()
    milliseconds: float = 0.0
    module: object = None  # that a kernel is of


@dataclass(eq=False)
class Stream:
    number: int
    pending: deque[Op] = field(default_factory=deque)
    captured: list[Op] | None = None
    invalid: bool = False
    live: bool = True

    def __int__(self) -> int:
        return self.number


@dataclass(eq=False)
class Graph:
    ops: list[Op]
    live: bool = True


@dataclass(eq=False)
class Module:
    kernels: dict[str, fakeptx.Kernel]
    live: bool = True


@dataclass(eq=False)
class Function:
    module: Module
    kernel: fakeptx.Kernel


class FakeCuda:
    """Stands in for ``cuda.bindings.driver``.

    Args:
        devices: GPUs of the machine.
        capability: compute capability of each.
        memory: bytes of each.
        seed: of the order among streams.
        old: graphs are instantiated as before CUDA 12.
    """

    CUdevice_attribute = CUdevice_attribute
    CUstreamCaptureMode = CUstreamCaptureMode

    def __init__(
        self,
        devices: int = 1,
        capability: tuple[int, int] = (9, 0),
        memory: int = 1 << 30,
        seed: int = 0,
        old: bool = False,
    ) -> None:
        self.devices, self.capability, self.memory = devices, capability, memory
        self.device_memory: dict[int, np.ndarray] = {}
        self.pinned: dict[int, np.ndarray] = {}
        self.streams: dict[int, Stream] = {}
        self.events: list[Event] = []
        self.graphs: list[Graph] = []
        self.modules: list[Module] = []
        self.launched = 0
        self.copied_in = self.copied_out = 0  # bytes, to and from the GPUs
        self.calls: list[str] = []
        self._addresses, self._numbers = count(1 << 32, 1 << 32), count(7)
        self._current = threading.local()
        self._retained = 0
        self._clock = 0.0
        self._random = random.Random(seed)
        self._lock = threading.RLock()
        if old:
            self.cuGraphInstantiateWithFlags = self.cuGraphInstantiate

    def live(self) -> dict[str, int]:
        """What has not been released."""
        return {
            "device": len(self.device_memory),
            "pinned": len(self.pinned),
            "streams": len(self.streams),
            "events": sum(event.live for event in self.events),
            "graphs": sum(graph.live for graph in self.graphs),
            "modules": sum(module.live for module in self.modules),
            "contexts": self._retained,
        }

    # -- what tests and the fake TensorRT use --

    def bytes_at(self, address: int, nbytes: int) -> np.ndarray:
        """Device memory, which must be allocated."""
        for start, block in self.device_memory.items():
            if start <= address and address + nbytes <= start + len(block):
                return block[address - start : address - start + nbytes]
        raise AssertionError(f"{nbytes} bytes at {address} are not the GPU's memory, or freed")

    def put(self, handle: int, op: Op) -> None:
        """Add work to a stream, or to the graph that is being captured from it."""
        stream = self.streams[handle]
        if stream.captured is not None:
            stream.captured.append(op)
        else:
            stream.pending.append(op)

    def capturing(self) -> bool:
        return any(stream.captured is not None for stream in self.streams.values())

    def _drain(self, done: Callable[[], bool]) -> None:
        while not done():
            heads = [s for s in self.streams.values() if s.pending and s.pending[0].ready()]
            assert heads, "deadlock: no stream can go on"
            op = self._random.choice(heads).pending.popleft()
            self._clock += 0.001 + op.milliseconds
            op.run()

    # -- the driver's functions: status first --

    def cuInit(self, flags: int) -> Any:
        return (Status.SUCCESS if self.devices else Status.NO_DEVICE,)

    def cuGetErrorName(self, status: Status) -> Any:
        return Status.SUCCESS, f"CUDA_ERROR_{status.name}".encode()

    def cuDriverGetVersion(self) -> Any:
        return Status.SUCCESS, 13000

    def cuDeviceGetCount(self) -> Any:
        return Status.SUCCESS, self.devices

    def cuDeviceGet(self, ordinal: int) -> Any:
        return Status.SUCCESS, ordinal

    def cuDeviceGetName(self, length: int, device: int) -> Any:
        return Status.SUCCESS, b"Fake GPU".ljust(length, b"\0")

    def cuDeviceGetAttribute(self, attribute: CUdevice_attribute, device: int) -> Any:
        return Status.SUCCESS, self.capability[attribute - CUdevice_attribute.MAJOR]

    def cuDevicePrimaryCtxRetain(self, device: int) -> Any:
        self._retained += 1
        return Status.SUCCESS, "context"

    def cuDevicePrimaryCtxRelease(self, device: int) -> Any:
        self._retained -= 1
        return (Status.SUCCESS,)

    def cuCtxSetCurrent(self, context: Any) -> Any:
        self._current.context = context
        return (Status.SUCCESS,)

    def cuMemGetInfo(self) -> Any:
        used = sum(len(block) for block in self.device_memory.values())
        return self._checked() or (Status.SUCCESS, self.memory - used, self.memory)

    def cuMemAlloc(self, nbytes: int) -> Any:
        if failed := self._checked(capture=False):
            return failed
        if self.cuMemGetInfo()[1] < nbytes:
            return (Status.OUT_OF_MEMORY, None)
        address = next(self._addresses)
        noise = np.random.default_rng(address)
        self.device_memory[address] = noise.integers(0, 255, nbytes, np.uint8)  # never zeros
        return Status.SUCCESS, address

    def cuMemFree(self, address: int) -> Any:
        self._unused(address, len(self.device_memory[address]))
        del self.device_memory[address]
        return (Status.SUCCESS,)

    def cuMemHostAlloc(self, nbytes: int, flags: int) -> Any:
        if failed := self._checked(capture=False):
            return failed
        block = np.full(nbytes, 255, np.uint8)
        self.pinned[block.ctypes.data] = block
        return Status.SUCCESS, block.ctypes.data

    def cuMemFreeHost(self, address: int) -> Any:
        self._unused(address, len(self.pinned[address]))
        del self.pinned[address]
        return (Status.SUCCESS,)

    def cuMemcpyHtoDAsync(self, device: int, host: int, nbytes: int, stream: Stream) -> Any:
        def copy() -> None:
            self.bytes_at(device, nbytes)[:] = self._host(host, nbytes)
            self.copied_in += nbytes

        return self._queue(stream, Op(copy, touches=frozenset((device, host)), milliseconds=1))

    def cuMemcpyDtoHAsync(self, host: int, device: int, nbytes: int, stream: Stream) -> Any:
        def copy() -> None:
            self._host(host, nbytes)[:] = self.bytes_at(device, nbytes)
            self.copied_out += nbytes

        return self._queue(stream, Op(copy, touches=frozenset((device, host)), milliseconds=1))

    def cuStreamCreate(self, flags: int) -> Any:
        if failed := self._checked():
            return failed
        stream = Stream(next(self._numbers))
        self.streams[stream.number] = stream
        return Status.SUCCESS, stream

    def cuStreamDestroy(self, stream: Stream) -> Any:
        assert not stream.pending, "a stream was destroyed before its work was done"
        del self.streams[stream.number]
        return (Status.SUCCESS,)

    def cuStreamSynchronize(self, stream: Stream) -> Any:
        if stream.captured is not None:
            stream.invalid = True
            return (Status.STREAM_CAPTURE_UNSUPPORTED,)
        with self._lock:
            self._drain(lambda: not stream.pending)
        return self._checked() or (Status.SUCCESS,)

    def cuStreamWaitEvent(self, stream: Stream, event: Event, flags: int) -> Any:
        mark = event.mark
        if mark is None:
            return (Status.SUCCESS,)
        return self._queue(stream, Op(lambda: None, ready=lambda: mark.time is not None))

    def cuEventCreate(self, flags: int) -> Any:
        event = Event(timing=not flags & 2)
        self.events.append(event)
        return self._checked() or (Status.SUCCESS, event)

    def cuEventRecord(self, event: Event, stream: Stream) -> Any:
        mark = event.mark = Mark()

        def happen() -> None:
            mark.time = self._clock

        return self._queue(stream, Op(happen))

    def cuEventSynchronize(self, event: Event) -> Any:
        mark = event.mark
        if mark is not None:
            with self._lock:
                self._drain(lambda: mark.time is not None)
        return self._checked() or (Status.SUCCESS,)

    def cuEventElapsedTime(self, first: Event, last: Event) -> Any:
        if not (first.timing and last.timing and first.mark and last.mark):
            return (Status.INVALID_HANDLE, None)
        if first.mark.time is None or last.mark.time is None:
            return (Status.INVALID_VALUE, None)
        return Status.SUCCESS, last.mark.time - first.mark.time

    def cuEventDestroy(self, event: Event) -> Any:
        event.live = False
        return (Status.SUCCESS,)

    def cuStreamBeginCapture(self, stream: Stream, mode: CUstreamCaptureMode) -> Any:
        stream.captured, stream.invalid = [], False
        return (Status.SUCCESS,)

    def cuStreamEndCapture(self, stream: Stream) -> Any:
        ops, stream.captured = stream.captured, None
        if stream.invalid or ops is None:
            return (Status.STREAM_CAPTURE_INVALIDATED, None)
        graph = Graph(ops)
        self.graphs.append(graph)
        return Status.SUCCESS, graph

    def cuGraphInstantiate(self, graph: Graph, flags: int) -> Any:
        made = Graph(list(graph.ops))
        self.graphs.append(made)
        return Status.SUCCESS, made

    def cuGraphDestroy(self, graph: Graph) -> Any:
        graph.live = False
        return (Status.SUCCESS,)

    cuGraphExecDestroy = cuGraphDestroy

    def cuGraphLaunch(self, graph: Graph, stream: Stream) -> Any:
        assert graph.live, "a graph was launched after it was destroyed"
        self.launched += 1
        for op in graph.ops:
            self._queue(stream, op)
        return (Status.SUCCESS,)

    def cuModuleLoadData(self, image: bytes) -> Any:
        if failed := self._checked(capture=False):
            return failed
        assert image.endswith(b"\0"), "the text's end is not marked: the driver would read on"
        try:
            module = Module(fakeptx.parse(image[:-1].decode()))
        except (AssertionError, LookupError, ValueError):
            return (Status.INVALID_PTX, None)
        self.modules.append(module)
        return Status.SUCCESS, module

    def cuModuleGetFunction(self, module: Module, name: bytes) -> Any:
        kernel = module.kernels.get(name.decode())
        if kernel is None or not module.live:
            return (Status.NOT_FOUND, None)
        return Status.SUCCESS, Function(module, kernel)

    def cuModuleUnload(self, module: Module) -> Any:
        waiting = (op.module for stream in self.streams.values() for op in stream.pending)
        assert module not in waiting, "a module was unloaded while its kernel was waiting"
        module.live = False
        return self._checked() or (Status.SUCCESS,)

    def cuLaunchKernel(
        self,
        function: Function,
        grid_x: int,
        grid_y: int,
        grid_z: int,
        block_x: int,
        block_y: int,
        block_z: int,
        shared: int,
        stream: Stream,
        params: tuple[tuple[Any, ...], tuple[Any, ...]],
        extra: int,
    ) -> Any:
        grid, block = (grid_x, grid_y, grid_z), (block_x, block_y, block_z)
        if not (1 <= grid_x < 1 << 31 and 1 <= grid_y < 1 << 16 and 1 <= block_x <= 1024):
            return (Status.INVALID_VALUE,)
        assert (grid[2], block[1:], shared, extra) == (1, (1, 1), 0, 0), "not made for this"
        assert function.module.live, "a kernel was launched after its module was unloaded"
        kernel, declared = function.kernel, function.kernel.params
        sizes = [ctypes.sizeof(kind) for kind in params[1]]
        assert sizes == [np.dtype(kind).itemsize for kind in declared.values()], "parameters' sizes"
        arguments = {
            name: int(kind(value).value)  # cut to its type, as it is on the way to the GPU
            for name, value, kind in zip(declared, *params, strict=True)
        }

        def run() -> None:
            fakeptx.run(kernel, grid[:2], block_x, arguments, self.bytes_at)

        touches = frozenset(arguments.values())
        return self._queue(stream, Op(run, touches=touches, module=function.module))

    # -- inside --

    def _checked(self, capture: bool = True) -> Any:
        if getattr(self._current, "context", None) is None:
            return (Status.INVALID_CONTEXT, None)
        if not capture and self.capturing():
            for stream in self.streams.values():
                stream.invalid = True
            return (Status.STREAM_CAPTURE_UNSUPPORTED, None)
        return None

    def _queue(self, stream: Stream, op: Op) -> Any:
        failed = self._checked()
        if not failed:
            self.put(stream.number, op)
        return failed[:1] if failed else (Status.SUCCESS,)

    def _host(self, address: int, nbytes: int) -> np.ndarray:
        assert any(
            start <= address and address + nbytes <= start + len(block)
            for start, block in self.pinned.items()
        ), "the copy's host memory is not pinned, or freed"
        return np.frombuffer((ctypes.c_uint8 * nbytes).from_address(address), np.uint8)

    def _unused(self, address: int, nbytes: int) -> None:
        for stream in self.streams.values():
            for op in stream.pending:
                used = any(address <= touched < address + nbytes for touched in op.touches)
                assert not used, "memory was freed while work on it was waiting"
