"""What a bundle says of its TensorRT engines: what built them, for which GPUs and shapes.

An engine runs only where the manifest says that it does; :func:`check` puts that into a sentence
before any of the file is given to native code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from runtime.errors import BackendError
from runtime.schema import Text, Within

Library = Literal["tensorrt", "tensorrt_rtx"]
Hardware = Literal["none", "ampere_plus", "same_compute_capability"]
AMPERE = (8, 0)
Axis: TypeAlias = Annotated[int, Within(1, 1 << 24)]
Name: TypeAlias = Annotated[str, Text(255)]


@dataclass(frozen=True)
class Range:
    """Shapes of one input that an optimization profile serves: from ``min`` to ``max``, and the
    one that it is tuned for. Fixed axes have the same length in all three."""

    min: tuple[Axis, ...]
    opt: tuple[Axis, ...]
    max: tuple[Axis, ...]

    def __post_init__(self) -> None:
        axes = zip(self.min, self.opt, self.max, strict=False)
        if not len(self.min) == len(self.opt) == len(self.max) or not self.min:
            raise ValueError(f"shapes of different ranks: {self.min}, {self.opt}, {self.max}")
        if not all(1 <= low <= best <= high for low, best, high in axes):
            raise ValueError(f"min <= opt <= max does not hold: {self.min}, {self.opt}, {self.max}")

    def holds(self, shape: tuple[int, ...]) -> bool:
        """Whether an input of this shape is served."""
        return len(shape) == len(self.min) and all(
            low <= n <= high for low, n, high in zip(self.min, shape, self.max, strict=True)
        )


@dataclass(frozen=True)
class Profile:
    """An optimization profile: a range of shapes for each input."""

    inputs: dict[Name, Range]

    def holds(self, shapes: dict[str, tuple[int, ...]]) -> bool:
        """Whether inputs of these shapes are served."""
        return self.inputs.keys() == shapes.keys() and all(
            self.inputs[name].holds(shape) for name, shape in shapes.items()
        )


@dataclass(frozen=True)
class Engine:
    """One engine file.

    Attributes:
        file: its name in the bundle.
        library: what built it and alone can run it.
        version: of that library, all of it.
        compute_capabilities: of the GPUs it was built for, such as ``9.0``.
        device: name of the GPU that it was tuned on; empty when it was built without one.
        hardware: other GPUs that may run it: ``none``, ``ampere_plus`` (8.0 and later) or
            ``same_compute_capability``.
        version_compatible: later versions of the same major version may run it.
        tf32: whether FP32 products may use TF32.
        precision: that the library was seen to use for the encoder's products.
        layers: number of layers that put out each type.
        profiles: in the engine's order.
    """

    file: Name
    library: Library
    version: Name
    compute_capabilities: tuple[Name, ...]
    device: Name
    hardware: Hardware
    version_compatible: bool
    tf32: bool
    precision: Literal["fp32", "fp16"]
    layers: dict[Name, Annotated[int, Within(0, 1 << 24)]]
    profiles: tuple[Profile, ...]

    def profile_of(self, shapes: dict[str, tuple[int, ...]]) -> int | None:
        """Number of the first profile that serves inputs of these shapes, if there is one."""
        return next((i for i, p in enumerate(self.profiles) if p.holds(shapes)), None)

    @property
    def max_batch(self) -> int:
        """Most rows of a run."""
        return max(next(iter(profile.inputs.values())).max[0] for profile in self.profiles)


@dataclass(frozen=True)
class Engines:
    """The engines of a bundle; of one without a text encoder there is one."""

    audio: Engine
    text: Engine | None

    @property
    def each(self) -> tuple[Engine, ...]:
        """Those that there are."""
        return (self.audio,) if self.text is None else (self.audio, self.text)


def check(engine: Engine, library: str, version: str, compute_capability: str) -> None:
    """Refuse an engine that this machine cannot run.

    Args:
        engine: from the manifest.
        library: that is installed here.
        version: of it.
        compute_capability: of the GPU.

    Raises:
        BackendError: another library, version or GPU; both values are named.
    """
    problem = ""
    if engine.library != library:
        problem = f"was built by {engine.library}, and {library} is installed here"
    elif not _runs_version(engine, version):
        problem = f"was built by {library} {engine.version}, and {version} is installed here"
    elif not _runs_device(engine, compute_capability):
        problem = (
            f"was built for GPUs of compute capability {', '.join(engine.compute_capabilities)}, "
            f"and this one has {compute_capability}"
        )
    if problem:
        raise BackendError(
            f"the engine '{engine.file}' {problem}. Build it here from the bundle's ONNX graphs: "
            "clap-export build BUNDLE"
        )


def _runs_version(engine: Engine, version: str) -> bool:
    if engine.version == version:
        return True
    built, here = _numbers(engine.version), _numbers(version)
    return engine.version_compatible and built[0] == here[0] and built <= here


def _runs_device(engine: Engine, compute_capability: str) -> bool:
    if compute_capability in engine.compute_capabilities:
        return True
    return engine.hardware == "ampere_plus" and _numbers(compute_capability) >= AMPERE


def _numbers(version: str) -> tuple[int, ...]:
    """``10.16.1.11`` as numbers; whatever follows the digits of a part is left out."""
    parts = ("".join(c for c in part if c.isdigit()) for part in version.split("."))
    return tuple(int(part or 0) for part in parts)
