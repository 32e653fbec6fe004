"""What all models have in common: their parameters, their files, and one answer to each request."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb  # pyright: ignore[reportMissingImports]
from numpy.typing import NDArray

import runtime
from clap_export.triton.served import BUNDLE
from runtime.bundle import Bundle
from runtime.errors import ClapError
from runtime.manifest import MANIFEST
from runtime.plain_text import printable


class Served:
    """Where a model lies, and what its configuration says.

    Args:
        arguments: of ``initialize``.

    Attributes:
        folder: of this version.
        config: the configuration, as Triton completed it.
        device: number of the GPU that the instance is for, or None.
    """

    def __init__(self, arguments: dict[str, str]) -> None:
        self.folder = Path(arguments["model_repository"]) / arguments["model_version"]
        self.config: dict[str, Any] = json.loads(arguments["model_config"])
        gpu = arguments["model_instance_kind"] == "GPU"
        self.device = int(arguments["model_instance_device_id"]) if gpu else None
        made_by = self.parameter("clap_export")
        if made_by != runtime.__version__:
            pb.Logger.log_warn(
                f"this repository was written by clap-export {made_by}, and "
                f"{runtime.__version__} is installed here."
            )

    def parameter(self, name: str) -> str | None:
        """What the configuration says of itself, or None."""
        found = self.config["parameters"].get(name)
        return None if found is None else found["string_value"]

    def engine(self) -> dict[str, Any]:
        """Where the runtime shall run, as an Encoder or Tagger takes it."""
        threads = self.parameter("threads")
        return {
            "providers": (self.parameter("provider") or "cpu",),
            "threads": threads and int(threads),
            "device": self.device,
        }

    def bundle(self) -> Bundle:
        """The files of the bundle that this model needs; their hashes are compared."""
        folder = self.folder / BUNDLE
        only = [path.name for path in folder.iterdir() if path.name != MANIFEST]
        return Bundle(folder, only=only)

    def templates(self) -> list[str] | None:
        """Prompts for the labels of requests, or None for the bundle's own."""
        found = self.parameter("templates")
        return None if found is None else json.loads(found)

    @property
    def max_batch(self) -> int:
        """Most rows of a run."""
        return int(self.config["max_batch_size"])


def array(request: Any, name: str) -> NDArray[Any]:
    """An input.

    Raises:
        ClapError: it was left out, which Triton allows where any other input is optional.
    """
    found = maybe_array(request, name)
    if found is None:
        raise ClapError(f"the input '{name}' is missing.")
    return found


def maybe_array(request: Any, name: str) -> NDArray[Any] | None:
    """An input, or None where it was left out."""
    tensor = pb.get_input_tensor_by_name(request, name)
    return None if tensor is None else tensor.as_numpy()


def words(texts: NDArray[Any]) -> list[str]:
    """A tensor of strings, in one list.

    Raises:
        ClapError: one of them is not UTF-8.
    """
    found: list[str] = []
    for text in texts.reshape(-1).tolist():
        try:
            found.append(text.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise ClapError(f"text {text[:40]!r} is not UTF-8 ({error}).") from error
    return found


def failed(error: BaseException) -> Any:
    """The answer to a request that cannot be served: a sentence, or that the fault is ours."""
    if isinstance(error, ClapError):
        said = pb.TritonError(printable(str(error)), pb.TritonError.INVALID_ARG)
    else:
        pb.Logger.log_error("".join(traceback.format_exception(error)))
        said = pb.TritonError(
            f"a fault inside the model: {type(error).__name__}. The server's log says where.",
            pb.TritonError.INTERNAL,
        )
    return pb.InferenceResponse(output_tensors=[], error=said)


def together(
    requests: Sequence[Any], work: Callable[[Sequence[Any]], list[list[Any]]]
) -> list[Any]:
    """Answers to requests that are served in one go, or, if that fails, each by itself: what is
    wrong with one is no other's error.

    Args:
        requests: of one batch.
        work: output tensors of each request.
    """
    try:
        return [pb.InferenceResponse(output_tensors=tensors) for tensors in work(requests)]
    except Exception as error:
        if len(requests) == 1:
            return [failed(error)]
    return [answer for request in requests for answer in together([request], work)]
