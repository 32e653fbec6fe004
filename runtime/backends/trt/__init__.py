"""TensorRT, and TensorRT-RTX: engines that ``clap-export build`` made, run without torch."""

from __future__ import annotations

import math
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime import forks
from runtime.backends.cuda.driver import Driver
from runtime.backends.trt.dialect import Dialect, installed
from runtime.backends.trt.lane import Lane
from runtime.backends.trt.loaded import Loaded
from runtime.content import Content
from runtime.engines import Engine, check
from runtime.errors import BackendError

PROVIDER = "tensorrt"
MOST_LANES = 4  # runs at once; each has contexts and memory of its own
PATIENCE = 60.0  # seconds to wait for a lane


@dataclass(frozen=True)
class Memory:
    """Bytes that an engine holds, beside its weights and code.

    Attributes:
        engine: size of the engine file, about what its weights take on the GPU.
        device: buffers and memory to compute in, on the GPU.
        pinned: page-locked, on the host.
    """

    engine: int
    device: int
    pinned: int


class TensorRtBackend:
    """A loaded engine; see :class:`runtime.backends.Backend`.

    Threads may run at once: each run has a lane of its own, up to four.

    Args:
        plan: the engine file; its hash must have been checked, because loading runs native code.
        engine: what the manifest says of it.
        device: number of the GPU.
        driver, dialect: default the machine's own.

    Raises:
        BackendError: no driver, no GPU, no TensorRT, or another one than built the engine; all
            are found out before any of TensorRT is loaded that would crash without a GPU.
    """

    takes_int16 = on_gpu = True
    bfloat16 = False
    one_thread_each_from = math.inf

    def __init__(
        self,
        plan: Content | Path,
        engine: Engine,
        device: int = 0,
        *,
        driver: Driver | None = None,
        dialect: Dialect | None = None,
    ) -> None:
        self._driver = driver or Driver(device)
        try:
            library = dialect or installed(engine.library)
            capability = self._driver.info.compute_capability
            check(engine, library.library, library.version, capability)
            self._driver.enter()
            content = Content.of(plan, BackendError)
            self._size = len(content.data)
            self._loaded = Loaded(library, content.data, engine)
        except BaseException:
            self._driver.close()
            raise
        self.provider = PROVIDER
        self.input_names = self._loaded.inputs
        self.output_names = tuple(self._loaded.outputs)
        self._free: list[Lane] = []
        self._count = 0
        self._closed = False
        self._change = threading.Condition()
        forks.watch(self)

    def run(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Run the engine on a batch; all outputs by name."""
        parts = list(self.stream([inputs]))
        return parts[0]

    def stream(
        self, feeds: Iterable[dict[str, NDArray[Any]]]
    ) -> Iterator[dict[str, NDArray[np.float32]]]:
        """Run batches in order, copying one while the one before computes."""
        with self._lane() as lane:
            counts: list[int] = []

            def parts() -> Iterator[dict[str, NDArray[Any]]]:
                for feed in feeds:
                    split = self._loaded.split(feed)
                    counts.append(len(split))
                    self._driver.enter()  # the caller's code ran in between
                    yield from split

            done: list[dict[str, NDArray[np.float32]]] = []
            for part in lane.stream(parts()):
                done.append(part)
                if len(done) == counts[0]:
                    counts.pop(0)
                    whole, done = done, []
                    yield {n: np.concatenate([p[n] for p in whole]) for n in self.output_names}

    def milliseconds(self, inputs: dict[str, NDArray[Any]]) -> tuple[float, float, float]:
        """GPU time of a batch, by events: copying in, computing, copying out, one after another."""
        with self._lane() as lane:
            return lane.milliseconds(inputs)

    def memory(self) -> Memory:
        """What it holds now; nothing may be running."""
        with self._change:
            return Memory(
                engine=self._size,
                device=sum(lane.device_bytes for lane in self._free),
                pinned=sum(lane.pinned_bytes for lane in self._free),
            )

    def close(self) -> None:
        """Wait for runs in progress, and release the GPU's memory.

        Raises:
            BackendError: a stream that was begun is neither read to its end nor closed.
        """
        with self._change:
            if self._closed:
                return
            self._closed = True
            if not self._change.wait_for(lambda: len(self._free) == self._count, PATIENCE):
                self._closed = False
                raise BackendError(
                    f"the engine cannot be closed: a stream has been open for {PATIENCE:.0f} s. "
                    "Read it to its end, or close it."
                )
        self._driver.enter()
        for lane in self._free:
            lane.close()
        self._loaded.close()
        self._driver.close()

    def forked(self) -> None:
        """In a child of the process that opened it: the GPU's memory is not the child's."""
        forks.leak(dict(self.__dict__))
        self._free, self._closed, self._change = [], True, threading.Condition()

    @contextmanager
    def _lane(self) -> Generator[Lane]:
        """A lane for this thread alone.

        Raises:
            BackendError: closed; or all lanes are in use, and stay so.
        """
        with self._change:
            ready = self._change.wait_for(
                lambda: self._closed or self._free or self._count < MOST_LANES, PATIENCE
            )
            if self._closed:
                raise BackendError("this engine was closed: open the bundle again.")
            if not ready:
                raise BackendError(
                    f"all {MOST_LANES} lanes of this engine have been in use for {PATIENCE:.0f} s: "
                    "finish or close the streams that were begun."
                )
            lane = self._free.pop() if self._free else None
            self._count += lane is None
        try:
            self._driver.enter()
            lane = lane or Lane(self._driver, self._loaded)
        except BaseException:
            with self._change:
                self._count -= 1
                self._change.notify_all()
            raise
        try:
            yield lane
        finally:
            with self._change:
                self._free.append(lane)
                self._change.notify_all()
