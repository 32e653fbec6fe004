"""OpenVINO on the CPU, an optional engine: on Intel's it is often the quicker one."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime import forks
from runtime.backends import quiet
from runtime.content import Content
from runtime.cores import engine_threads
from runtime.errors import BackendError

PROVIDER = "openvino"


class OpenVinoBackend:
    """A compiled model; see :class:`runtime.backends.Backend`."""

    takes_int16 = on_gpu = one_thread_each = False

    def __init__(
        self,
        model: Content | Path | bytes,
        providers: Sequence[str],
        threads: int | None = None,
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
        settings: dict[str, Any] = {
            # Else it takes bfloat16 where the CPU has it: too coarse for the mel frontend.
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        if engine_threads(threads):
            settings["INFERENCE_NUM_THREADS"] = engine_threads(threads)
        try:
            with forks.inside_library():
                core: Any = openvino.Core()
                read = core.read_model(content.data)
                self._compiled: Any = core.compile_model(read, "CPU", settings)
        except Exception as error:  # the library raises RuntimeError and its own kinds
            raise BackendError(f"OpenVINO cannot load '{content.path}': {error}") from error
        self.provider = PROVIDER
        self.input_names = tuple(str(i.get_any_name()) for i in self._compiled.inputs)
        self.output_names = tuple(str(o.get_any_name()) for o in self._compiled.outputs)
        self._local = threading.local()  # a request serves one thread at a time
        forks.watch(self)

    def run(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Run the graph on a batch; all outputs by name."""
        compiled = self._compiled
        if compiled is None:
            raise BackendError("this engine was closed: open the bundle again.")
        try:
            with forks.inside_library():
                if not hasattr(self._local, "request"):
                    self._local.request = compiled.create_infer_request()
                found = self._local.request.infer(inputs)
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
        self._compiled = None
        self._local = threading.local()

    def forked(self) -> None:
        """In a child of the process that opened it: it cannot run there."""
        forks.leak(dict(self.__dict__))
        self.close()
