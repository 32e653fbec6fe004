"""What Triton must know of a model: the fields of its ``config.pbtxt``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from clap_export.triton import pbtxt
from clap_export.triton.pbtxt import Bare, Value

# A window takes milliseconds on any engine: so long may one wait for others to share its batch.
QUEUE_MICROSECONDS = 2000
ANY = -1  # an axis of any length

Backend = Literal["onnxruntime", "tensorrt", "python"]
FILES: dict[str, str] = {
    "onnxruntime": "model.onnx",
    "tensorrt": "model.plan",
    "python": "model.py",
}
Kind = Literal["KIND_AUTO", "KIND_CPU", "KIND_GPU"]
Type = Literal["TYPE_FP32", "TYPE_INT64", "TYPE_INT32", "TYPE_BOOL", "TYPE_STRING"]


@dataclass(frozen=True)
class Tensor:
    """An input or output.

    Attributes:
        name: of it.
        type: of its elements.
        dims: its shape without the batch; none for one number a row.
        labels: file of the model's folder that names the elements, one a line.
        optional: a request may leave it out.
        ragged: requests of a batch may have it in other lengths; each keeps its own tensor.
    """

    name: str
    type: Type
    dims: tuple[int, ...]
    labels: str = ""
    optional: bool = False
    ragged: bool = False

    def fields(self) -> dict[str, Value]:
        """Of Triton's ``ModelInput`` or ``ModelOutput``."""
        result: dict[str, Value] = {"name": self.name, "data_type": Bare(self.type)}
        result["dims"] = self.dims or (1,)
        if not self.dims:  # Triton knows no tensor without axes: it is told to drop this one
            result["reshape"] = {}
        if self.labels:
            result["label_filename"] = self.labels
        if self.optional:
            result["optional"] = True
        if self.ragged:
            result["allow_ragged_batch"] = True
        return result


@dataclass(frozen=True)
class Instances:
    """Where a model runs, and how often.

    Attributes:
        count: on each device.
        kind: of device.
        profiles: optimization profiles of a TensorRT engine that are used.
    """

    count: int
    kind: Kind
    profiles: int = 0

    def fields(self) -> dict[str, Value]:
        """Of Triton's ``ModelInstanceGroup``."""
        profiles = [str(i) for i in range(self.profiles)]
        return {"count": self.count, "kind": Bare(self.kind), "profile": profiles}


@dataclass(frozen=True)
class ModelConfig:
    """All that is said of one model.

    Attributes:
        name: of it, and of its folder.
        backend: what runs it.
        max_batch: most rows of a run.
        inputs: without the batch's axis.
        outputs: the same.
        instances: where it runs.
        preferred: batch sizes that its engine was tuned for.
        parameters: what is said to whoever reads the configuration, and to the model itself.
        warm: run a batch of one row and a full one before the model is called ready. Of strings it
            is taken from ``warmup/words``.
    """

    name: str
    backend: Backend
    max_batch: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    instances: Instances
    preferred: tuple[int, ...] = ()
    parameters: dict[str, str] = field(default_factory=dict[str, str])
    warm: bool = False

    def text(self) -> str:
        """The file."""
        sizes = sorted({1, self.max_batch}) if self.warm else []
        batching: dict[str, Value] = {
            "preferred_batch_size": self.preferred,
            "max_queue_delay_microseconds": QUEUE_MICROSECONDS,
        }
        return pbtxt.text(
            {
                "name": self.name,
                "backend": self.backend,
                "default_model_filename": FILES[self.backend],
                "max_batch_size": self.max_batch,
                "input": [tensor.fields() for tensor in self.inputs],
                "output": [tensor.fields() for tensor in self.outputs],
                "version_policy": {"latest": {"num_versions": 1}},
                "dynamic_batching": batching,
                "instance_group": [self.instances.fields()],
                "parameters": [
                    {"key": key, "value": {"string_value": value}}
                    for key, value in self.parameters.items()
                ],
                "model_warmup": [self._warm_up(size) for size in sizes],
            }
        )

    def _warm_up(self, size: int) -> dict[str, Value]:
        return {
            "name": f"batch of {size}",
            "batch_size": size,
            "inputs": [{"key": t.name, "value": _sample(t)} for t in self.inputs],
        }


def _sample(tensor: Tensor) -> dict[str, Value]:
    result: dict[str, Value] = {"data_type": Bare(tensor.type), "dims": tensor.dims or (1,)}
    if tensor.type == "TYPE_STRING":
        return {**result, "input_data_file": "words"}
    return {**result, "zero_data": True}
