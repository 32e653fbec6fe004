"""ONNX Runtime."""

from __future__ import annotations

import contextlib
import io
import logging
import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from runtime import forks
from runtime.backends import quiet
from runtime.backends.bound import Bound
from runtime.content import Content
from runtime.cores import engine_threads
from runtime.errors import BackendError

log = logging.getLogger(__name__)

CUDA = "cuda"
PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    CUDA: (
        "CUDAExecutionProvider",
        # The default exhaustive search runs anew for every shape and was 23 times slower on one
        # CLAP. TF32 has a 10-bit mantissa: too coarse for the mel frontend's power spectrum.
        {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"},
    ),
}
# How an optimised graph is saved: weights in a file beside it, arranged as the CPU wants them.
SAVED = {
    "session.optimized_model_external_initializers_file_name": "weights.bin",
    "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
    "session.save_external_prepacked_constant_initializers": "1",
}
# Log severities. A session logs errors: warnings about the placement of shape ops are of no use.
WARNINGS, ERRORS_ONLY, FATAL_ONLY = 2, 3, 4


class OrtBackend:
    """An ONNX Runtime session; see :class:`runtime.backends.Backend`.

    Args:
        model: the graph.
        providers: see :func:`runtime.backends.open_backend`, as are ``threads`` and ``device``.
        optimised: ``model`` is the path of what ``save`` wrote, whose weights are mapped: never of
            anything that came from elsewhere.
        save: path of a file to write the graph to as it was optimised for this CPU, with its
            weights beside it.
    """

    takes_int16 = bfloat16 = False

    def __init__(
        self,
        model: Content | Path | bytes,
        providers: Sequence[str],
        threads: int | None = None,
        device: int = 0,
        *,
        optimised: bool = False,
        save: Path | None = None,
    ) -> None:
        ort = _import_onnxruntime(providers)
        wanted = _check_providers(providers, ort.get_available_providers(), device)
        options = ort.SessionOptions()
        options.intra_op_num_threads = engine_threads(threads)  # 0: one per core
        options.inter_op_num_threads = 1
        options.log_severity_level = ERRORS_ONLY
        # Else idle threads keep a core busy for some hundredths of a second after every run.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        # Else bytes that look like its own format are not read as the ONNX that was checked.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        if save is not None:
            options.optimized_model_filepath = str(save)
            for name, value in SAVED.items():
                options.add_session_config_entry(name, value)
        if optimised:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
            loaded, path = str(model), model
        else:
            content = Content.of(model, BackendError)
            loaded, path = content.data, content.path
        try:
            with forks.inside_library(), _quiet(ort, providers):
                # enable_fallback=0: without it a failing GPU is replaced by the CPU during a run.
                self._session: Any = ort.InferenceSession(
                    loaded, options, providers=wanted, enable_fallback=0
                )
            self._session._model_bytes = None  # it would keep the file in memory beside the weights
            active = cast("list[str]", self._session.get_providers())
            inputs: list[Any] = self._session.get_inputs()
            # Whole numbers are a tagger's indices, which the runtime makes itself.
            floats = [o for o in self._session.get_outputs() if o.type != "tensor(int64)"]
            outputs = {cast(str, o.name): tuple(o.shape[1:]) for o in floats}
        except Exception as error:  # the library raises a dozen types without a common base
            raise BackendError(f"ONNX Runtime cannot load '{path}': {error}") from error
        if active[0] != wanted[0][0]:
            # The provider is compiled in, but its libraries or its device are not there.
            raise BackendError(
                f"provider '{providers[0]}' was asked for, but ONNX Runtime could start only "
                f"{', '.join(active)}: its libraries or the device are missing. "
                f"{_advice(providers)}"
            )
        self.provider = providers[0]
        self.on_gpu = self.provider == CUDA
        self.one_thread_each_from = math.inf if self.on_gpu else 0.0
        self.input_names = tuple(cast(str, i.name) for i in inputs)
        self.output_names = tuple(outputs)
        self._bound = Bound(ort, self._session, outputs, CUDA, device) if self.on_gpu else None
        forks.watch(self)

    def run(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Run the graph on a batch; all outputs by name."""
        session = self._session
        if session is None:
            raise BackendError("this engine was closed: open the bundle again.")
        try:
            if self._bound is not None:
                return self._bound.run(inputs)
            # On the CPU numpy's memory is used as it is: there is nothing to keep.
            with forks.inside_library():
                outputs = session.run(list(self.output_names), inputs)
        except Exception as error:
            shapes = {name: array.shape for name, array in inputs.items()}
            raise BackendError(f"ONNX Runtime failed on inputs {shapes}: {error}") from error
        return dict(zip(self.output_names, outputs, strict=True))

    def stream(
        self, feeds: Iterable[dict[str, NDArray[Any]]]
    ) -> Iterator[dict[str, NDArray[np.float32]]]:
        """Run batches in order."""
        return map(self.run, feeds)

    def close(self) -> None:
        """Drop the session; runs in progress finish."""
        self._session = self._bound = None

    def forked(self) -> None:
        """In a child of the process that opened it: it cannot run there."""
        forks.leak(dict(self.__dict__), self._session and self._session._sess)
        self.close()


def _import_onnxruntime(providers: Sequence[str]) -> Any:
    gpu = CUDA in providers
    package, extra = ("onnxruntime-gpu[cuda,cudnn]", "gpu") if gpu else ("onnxruntime", "cpu")
    install = f"pip install '{package}' (the extra clap-export[{extra}])"
    try:
        ort = quiet.onnxruntime()
    except Exception as error:  # a broken installation raises more than ImportError
        other = "" if gpu else ", or use another engine: clap-export[openvino] runs on CPUs too"
        raise BackendError(
            f"ONNX Runtime cannot be imported ({error}). Install it: {install}{other}."
        ) from error
    if not hasattr(ort, "InferenceSession"):  # one of two packages was removed
        raise BackendError(
            "onnxruntime is a folder without the library, as is left where onnxruntime and "
            "onnxruntime-gpu were both installed and one was removed: "
            f"pip uninstall onnxruntime onnxruntime-gpu; {install}."
        )
    if CUDA in providers and hasattr(ort, "preload_dlls"):
        # Finds CUDA libraries that pip installed; it prints what it misses, a CLI's output is JSON.
        with contextlib.redirect_stdout(io.StringIO()) as said:
            ort.preload_dlls()
        if said.getvalue():
            log.debug("onnxruntime.preload_dlls: %s", said.getvalue().strip())
    return ort


@contextlib.contextmanager
def _quiet(ort: Any, providers: Sequence[str]) -> Generator[None]:
    """Keep the library from writing to stderr why a GPU cannot be used: our sentence says it.

    Its default logger writes that, for which a session has no setting and which cannot be asked how
    it is set, so that it is warnings, the library's default, again afterwards.
    """
    if CUDA not in providers:
        yield
        return
    ort.set_default_logger_severity(FATAL_ONLY)
    try:
        yield
    finally:
        ort.set_default_logger_severity(WARNINGS)


def _check_providers(
    providers: Sequence[str], available: Sequence[str], device: int
) -> list[tuple[str, dict[str, str]]]:
    if isinstance(providers, str) or not providers:
        raise BackendError(f"providers={providers!r}: pass a tuple such as ('cuda', 'cpu').")
    unknown = [name for name in providers if name not in PROVIDERS]
    if unknown:
        raise BackendError(
            f"unknown provider {', '.join(map(repr, unknown))}: choose from {', '.join(PROVIDERS)}."
        )
    wanted = [PROVIDERS[name] for name in providers]
    if wanted[0][0] not in available:
        raise BackendError(
            f"provider '{providers[0]}' ({wanted[0][0]}) was asked for, but this ONNX Runtime "
            f"offers {', '.join(available)}. {_advice(providers)}"
        )
    placed = {CUDA: {"device_id": str(device)}}
    return [
        (full, {**options, **placed.get(name, {})})
        for name, (full, options) in zip(providers, wanted, strict=True)
        if full in available
    ]


def _advice(providers: Sequence[str]) -> str:
    if providers[0] == CUDA:
        return (
            "For CUDA: pip uninstall onnxruntime onnxruntime-gpu; pip install "
            "'onnxruntime-gpu[cuda,cudnn]' (the extra clap-export[gpu]); one of the two packages "
            "overwrites the other. Or ask for providers=('cpu',)."
        )
    return "Install it: pip install onnxruntime (the extra clap-export[cpu])"
