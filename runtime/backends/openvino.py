"""OpenVINO on the CPU, an optional engine: on Intel's it is often the quicker one."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime import forks
from runtime.backends import bfloat16, quiet, signal_stack
from runtime.content import Content
from runtime.cores import engine_threads
from runtime.errors import BackendError

PROVIDER = "openvino"


class OpenVinoBackend:
    """A compiled model, or in bfloat16 two of which one reads the other's results; see
    :class:`runtime.backends.Backend`."""

    takes_int16 = on_gpu = False
    # It divides steps among cores well: where runs are short, what Python does between them, one
    # thread at a time, costs more than that leaves. (clap-mini's take 2 to 4 ms, HTSAT-tiny's 30.)
    one_thread_each_from = 0.01

    def __init__(
        self,
        model: Content | Path | bytes,
        providers: Sequence[str],
        threads: int | None = None,
        half: bool = False,
        lanes: int = 1,
    ) -> None:
        if tuple(providers) != (PROVIDER,):
            raise BackendError(
                f"providers={tuple(providers)!r}: OpenVINO runs a graph alone; pass ('openvino',)."
            )
        try:
            openvino = quiet.openvino()
        except Exception as error:  # a broken installation raises more than ImportError
            raise BackendError(
                f"provider 'openvino' was asked for, but OpenVINO cannot be imported ({error}). "
                "Install it: pip install openvino; or ask for providers=('cpu',)."
            ) from error
        content = Content.of(model, BackendError)
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if engine_threads(threads):
            settings["INFERENCE_NUM_THREADS"] = lanes * engine_threads(threads)
        if lanes > 1:  # it deals its threads out to them
            settings["NUM_STREAMS"] = lanes
        try:
            with forks.inside_library(), signal_stack.kept():
                core: Any = openvino.Core()
                read = core.read_model(content.data)
                self.input_names = _names(read.inputs)
                self.output_names = _names(read.outputs)
                self.bfloat16 = half and not bfloat16.missing(openvino)
                parts = [(read, "f32")]
                if self.bfloat16:
                    parts = bfloat16.split(openvino, read).in_order
                # Unless told, it takes bfloat16 for all where the CPU has it.
                self._compiled: list[Any] = [
                    core.compile_model(part, "CPU", {**settings, "INFERENCE_PRECISION_HINT": kind})
                    for part, kind in parts
                ]
        except Exception as error:  # the library raises RuntimeError and its own kinds
            raise BackendError(f"OpenVINO cannot load '{content.path}': {error}") from error
        self.provider = PROVIDER
        self._local = threading.local()  # a request serves one thread at a time
        forks.watch(self)

    def run(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Run the graph on a batch; all outputs by name."""
        compiled = self._compiled
        if not compiled:
            raise BackendError("this engine was closed: open the bundle again.")
        try:
            with forks.inside_library():
                if not hasattr(self._local, "requests"):
                    self._local.requests = [part.create_infer_request() for part in compiled]
                first, *later = self._local.requests
                found = {**_by_name(first.infer(inputs, share_outputs=True))}
                for request in later:
                    for i in range(len(request.model_inputs)):  # no copy
                        request.set_input_tensor(i, first.get_output_tensor(i))
                    found |= _by_name(request.infer(share_outputs=True))
                # Copies: the request gives out its own buffers, which the next run overwrites.
                return {name: np.array(found[name], np.float32) for name in self.output_names}
        except Exception as error:
            shapes = {name: array.shape for name, array in inputs.items()}
            raise BackendError(f"OpenVINO failed on inputs {shapes}: {error}") from error

    def stream(
        self, feeds: Iterable[dict[str, NDArray[Any]]]
    ) -> Iterator[dict[str, NDArray[np.float32]]]:
        """Run batches in order."""
        return map(self.run, feeds)

    def close(self) -> None:
        """Drop the model; runs in progress finish."""
        self._compiled = []
        self._local = threading.local()

    def forked(self) -> None:
        """In a child of the process that opened it: it cannot run there."""
        forks.leak(dict(self.__dict__))
        self.close()


def _names(ports: Iterable[Any]) -> tuple[str, ...]:
    return tuple(str(port.get_any_name()) for port in ports)


def _by_name(results: Any) -> dict[str, NDArray[Any]]:
    """What a request gave, by every name that a tensor has; cuts between models may have none."""
    return {name: array for port, array in results.items() for name in port.get_names()}
