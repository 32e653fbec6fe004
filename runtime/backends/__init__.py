"""Engines that run a bundle's graphs: one protocol, one module per engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime import arguments
from runtime.content import Content
from runtime.engines import Engine, Engines
from runtime.errors import BackendError

if TYPE_CHECKING:
    from typing import TypeAlias

    Model: TypeAlias = Content | Path | bytes


class Backend(Protocol):
    """A loaded graph. ``run`` may be called by several threads at once."""

    @property
    def provider(self) -> str:
        """Short name of what really runs it, such as ``cpu`` or ``cuda``."""
        ...

    @property
    def input_names(self) -> tuple[str, ...]:
        """Of the graph, in its order."""
        ...

    @property
    def output_names(self) -> tuple[str, ...]:
        """Of the graph, in its order."""
        ...

    @property
    def takes_int16(self) -> bool:
        """An input of floats may be given as int16, with full scale 32768."""
        ...

    @property
    def on_gpu(self) -> bool:
        """It computes on a GPU, where a large bank of labels is looked up as well."""
        ...

    @property
    def bfloat16(self) -> bool:
        """Its encoder's products are computed in bfloat16."""
        ...

    @property
    def one_thread_each_from(self) -> float:
        """Seconds that a window takes, from which many recordings are quickest with a run of one
        thread for each core at a time, not with one run after the other on all cores: 0 for
        always, infinity for never.
        """
        ...

    def run(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Run the graph on a batch; all outputs by name.

        Raises:
            BackendError: the engine failed, or was closed.
        """
        ...

    def stream(
        self, feeds: Iterable[dict[str, NDArray[Any]]]
    ) -> Iterator[dict[str, NDArray[np.float32]]]:
        """Run batches in order, as :meth:`run` would; a GPU's copies overlap its work.

        A batch is asked for before the results of the one before are given out, and so are errors.
        """
        ...

    def close(self) -> None:
        """Release the engine's memory; later calls of ``run`` fail."""
        ...


TENSORRT = "tensorrt"  # the provider that runs engines, not graphs
GPU = ("cuda", TENSORRT)


def choose(
    providers: Sequence[str] | None, engines: Engines | None, device: int | None, folder: Path
) -> tuple[str, ...]:
    """The providers to run a bundle on.

    Args:
        providers: asked for; None for the bundle's own: ``tensorrt`` with engines, else ``cpu``.
        engines: of the bundle.
        device: number of a GPU, if one was asked for.
        folder: of the bundle, for the sentence.

    Raises:
        BackendError: no names, ``tensorrt`` without engines or beside others, or the number of a
            GPU for what runs on none.
    """
    if providers is None:
        chosen: tuple[str, ...] = ("cpu",) if engines is None else (TENSORRT,)
    elif isinstance(providers, str):
        chosen = (providers,)
    elif isinstance(providers, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        chosen = tuple(providers)
    else:
        chosen = ()
    first = next(iter(chosen), None)
    if first is None or not all(isinstance(name, str) for name in chosen):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise BackendError(
            f"providers={arguments.shown(providers)}: pass names, such as ('cuda', 'cpu')."
        )
    if TENSORRT in chosen and len(chosen) > 1:
        raise BackendError(
            f"providers={chosen!r}: TensorRT runs its engines alone; pass ('tensorrt',)."
        )
    if TENSORRT in chosen and engines is None:
        raise BackendError(
            f"provider 'tensorrt' was asked for, but {folder} holds no engines. "
            f"Build them on the GPU that will run them: clap-export build {folder}"
        )
    if device is not None and first not in GPU:
        raise BackendError(
            f"device={device} was asked for, but provider {first!r} runs on no GPU: leave the "
            f"device out, or choose from {', '.join(GPU)}."
        )
    return chosen


def open_backend(
    model: Model,
    providers: Sequence[str] = ("cpu",),
    threads: int | None = None,
    device: int = 0,
    bfloat16: bool = False,
    lanes: int = 1,
) -> Backend:
    """Load a graph.

    Args:
        model: an ONNX file's content, which is what a bundle's graph is loaded from; or its path or
            bytes, where it is one of our own that nobody else could write.
        providers: short names, first the wanted one, then those that may run what it cannot:
            ``cpu`` and ``cuda`` of ONNX Runtime, or ``openvino`` alone.
        threads: of the CPU inside one run; None lets the engine choose.
        device: number of the GPU, for ``cuda``.
        bfloat16: the encoder may be computed in bfloat16, where engine and CPU have it; else it is
            computed in the graph's own types. See :attr:`Backend.bfloat16`.
        lanes: runs at a time that ``threads`` are meant for; OpenVINO queues what is more.

    Raises:
        BackendError: the first provider is not available (there is no silent fall to another), the
            engine is not installed, or the graph cannot be loaded.
    """
    arguments.maybe_whole("threads", threads, error=BackendError, most=arguments.MOST_THREADS)
    if "openvino" in providers:
        from runtime.backends.openvino import OpenVinoBackend

        return OpenVinoBackend(model, providers, threads, bfloat16, lanes)
    from runtime.backends.ort import OrtBackend

    return OrtBackend(model, providers, threads, device)


def no_bfloat16() -> str:
    """Why a graph that may be computed in bfloat16 is not, here, on any engine; empty where it is
    on OpenVINO."""
    from runtime.backends import bfloat16, quiet

    try:
        return bfloat16.missing(quiet.openvino())
    except Exception as error:  # a broken installation raises more than ImportError
        return f"OpenVINO, which computes in it, cannot be imported ({error})"


def open_engine(plan: Content | Path, engine: Engine, device: int = 0) -> Backend:
    """Load a TensorRT engine.

    Args:
        plan: the engine file; its hash must have been checked, because loading it runs native code.
        engine: what the manifest says of it.
        device: number of the GPU.

    Raises:
        BackendError: no driver, no such GPU, no TensorRT, or not the ones it was built with.
    """
    from runtime.backends.trt import TensorRtBackend

    return TensorRtBackend(plan, engine, device)
