"""ONNX Runtime."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from runtime.backends import quiet
from runtime.backends.bound import Bound
from runtime.content import Content
from runtime.errors import BackendError

log = logging.getLogger(__name__)

PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    "cuda": (
        "CUDAExecutionProvider",
        # The default exhaustive search runs anew for every shape and was 23 times slower on one
        # CLAP. TF32 has a 10-bit mantissa: too coarse for the mel frontend's power spectrum.
        {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"},
    ),
}
ERRORS_ONLY = 3  # log severity: warnings about the placement of shape ops are of no use to users


class OrtBackend:
    """An ONNX Runtime session; see :class:`runtime.backends.Backend`."""

    def __init__(
        self,
        model: Content | Path | bytes,
        providers: Sequence[str],
        threads: int | None = None,
        device: int = 0,
    ) -> None:
        ort = _import_onnxruntime(providers)
        wanted = _check_providers(providers, ort.get_available_providers(), device)
        if threads is not None and threads < 1:
            raise BackendError(f"threads={threads} was asked for: pass at least 1, or None.")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or 0  # 0: one per core
        options.inter_op_num_threads = 1
        options.log_severity_level = ERRORS_ONLY
        # Else bytes that look like its own format are not read as the ONNX that was checked.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        content = Content.of(model, BackendError)
        try:
            # enable_fallback=0: without it a failing GPU is replaced by the CPU during a run.
            self._session: Any = ort.InferenceSession(
                content.data,
                options,
                providers=wanted,
                enable_fallback=0,
            )
        except Exception as error:  # the library raises a dozen types without a common base
            raise BackendError(f"ONNX Runtime cannot load '{content.path}': {error}") from error
        self._session._model_bytes = None  # it would keep the file in memory beside the weights
        active = cast("list[str]", self._session.get_providers())
        if active[0] != wanted[0][0]:
            # The provider is compiled in, but its libraries or its device are not there.
            raise BackendError(
                f"provider '{providers[0]}' was asked for, but ONNX Runtime could start only "
                f"{', '.join(active)}: its libraries or the device are missing. "
                f"{_advice(providers)}"
            )
        self.provider = providers[0]
        self.input_names = tuple(cast(str, i.name) for i in self._session.get_inputs())
        outputs = {cast(str, o.name): tuple(o.shape[1:]) for o in self._session.get_outputs()}
        self.output_names = tuple(outputs)
        self._bound = Bound(ort, self._session, outputs, "cuda", device)

    def run(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Run the graph on a batch; all outputs by name."""
        session = self._session
        if session is None:
            raise BackendError("this engine was closed: open the bundle again.")
        try:
            if self.provider == "cuda":
                return self._bound.run(inputs)
            # On the CPU numpy's memory is used as it is: there is nothing to keep.
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
        self._session = None


def _import_onnxruntime(providers: Sequence[str]) -> Any:
    try:
        ort = quiet.onnxruntime()
    except ImportError as error:
        package = "onnxruntime-gpu[cuda,cudnn]" if "cuda" in providers else "onnxruntime"
        raise BackendError(
            f"ONNX Runtime cannot be imported ({error}). Install it: pip install '{package}'"
        ) from error
    if "cuda" in providers and hasattr(ort, "preload_dlls"):
        # Finds CUDA libraries that pip installed; it prints what it misses, a CLI's output is JSON.
        with contextlib.redirect_stdout(io.StringIO()) as said:
            ort.preload_dlls()
        if said.getvalue():
            log.debug("onnxruntime.preload_dlls: %s", said.getvalue().strip())
    return ort


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
    placed = {"cuda": {"device_id": str(device)}}
    return [
        (full, {**options, **placed.get(name, {})})
        for name, (full, options) in zip(providers, wanted, strict=True)
        if full in available
    ]


def _advice(providers: Sequence[str]) -> str:
    if providers[0] == "cuda":
        return (
            "For CUDA: pip uninstall onnxruntime; pip install 'onnxruntime-gpu[cuda,cudnn]'; "
            "or ask for providers=('cpu',)."
        )
    return "Install it: pip install onnxruntime"
