"""What is measured: a bundle on an engine, or a peer with its checkpoint's weights."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from runtime.errors import ClapError
from runtime.manifest import read_manifest

Kind = Literal[
    "bundle", "torch", "torch-compile", "openvino", "transformers", "pipeline",
    "transformers-bf16", "transformers-compile", "transformers-openvino", "transformers-int8",
    "plain",
]  # fmt: skip
Device = Literal["cpu", "cuda"]
# What `--against` takes, and the candidates that each stands for: transformers is measured with
# batches and labels embedded once, and as its documentation shows it.
PEERS: dict[Device, dict[str, tuple[Kind, ...]]] = {
    "cpu": {
        "torch": ("torch",),
        "transformers": ("transformers", "pipeline"),
        "transformers-bf16": ("transformers-bf16",),
        "transformers-compile": ("transformers-compile",),
        "transformers-openvino": ("transformers-openvino",),
        "transformers-int8": ("transformers-int8",),
        "plain": ("plain",),
        "openvino": ("openvino",),
    },
    "cuda": {
        "torch": ("torch",),
        "torch-compile": ("torch-compile",),
        "transformers": ("transformers",),
    },
}
GPU_PROVIDERS = ("cuda", "tensorrt")
LABELS = 50
# By device: files in the stream unless asked for, and size of its batches.
FILES: dict[Device, int] = {"cpu": 16, "cuda": 128}
FOLDER_BATCH: dict[Device, int] = {"cpu": 4, "cuda": 16}
# From so many on, a stream is long enough to be timed once in a round, without a warm-up.
BULK = 100
DEFAULT_RUNS = 30


@dataclass(frozen=True)
class Candidate:
    """One thing to measure; it gets a process of its own.

    Attributes:
        kind: a bundle, or the peer that it is.
        path: of the bundle, or of the checkpoint.
        provider: of a bundle: ``cpu``, ``cuda``, ``tensorrt`` or ``openvino``.
        device: of a peer; and ``cuda`` gives a bundle the rows that are about a GPU.
        threads: of the CPU; None lets each engine choose.
        family: of the checkpoint; None tells it by its content.
        tokenizer: folder of the checkpoint's tokenizer, for families that bring none.
        python: interpreter to run it; None for this one.
    """

    kind: Kind
    path: Path
    provider: str = "cpu"
    device: Device = "cpu"
    threads: int | None = None
    family: str | None = None
    tokenizer: Path | None = None
    python: Path | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether it takes memory and energy of the GPU."""
        return self.provider in GPU_PROVIDERS or (self.kind != "bundle" and self.device == "cuda")


@dataclass(frozen=True)
class Plan:
    """What every candidate does.

    Attributes:
        clips: recordings to classify.
        batches: sizes of batches, in windows.
        rest: seconds without work before a recording that is timed as rested; None for no such row.
        files: in a stream; the clips again and again.
    """

    clips: tuple[Path, ...]
    batches: tuple[int, ...]
    rest: float | None = None
    files: int = FILES["cpu"]

    @property
    def names(self) -> list[str]:
        """The labels that recordings are scored with."""
        return [f"sound {i}" for i in range(LABELS)]


@dataclass(frozen=True)
class Peers:
    """What people use without us, to be measured beside the bundles.

    Attributes:
        names: of peers, such as ``torch``; see :data:`PEERS`.
        ckpt: checkpoint whose weights they run: the one that the bundles were made from.
        family: of the checkpoint; None tells it by its content.
        tokenizer: folder of the checkpoint's tokenizer, for families that bring none.
    """

    names: tuple[str, ...] = ()
    ckpt: Path | None = None
    family: str | None = None
    tokenizer: Path | None = None


@dataclass(frozen=True)
class Request:
    """What to measure side by side, and how.

    Attributes:
        bundles: the first is what all others are compared with.
        providers: to run bundles on. Without any: ``cpu``; or with ``device="cuda"``
            ``tensorrt`` for a bundle that has engines, and ``cuda`` for one that has none.
        threads: of the CPU; every bundle and peer is measured with each. None lets each engine
            choose.
        peers: to measure beside the bundles.
        device: to run peers on; ``cuda`` also adds the GPU and its ceilings to the report. Nothing
            else may run on it: its memory and energy are those of all processes.
        tensorrt_python: interpreter that has TensorRT's package, where this one has not.
        clips: recordings to classify; without any, a siren of 5 s at 44.1 kHz is generated.
        batches: sizes to run the audio encoder with, in windows; None takes the device's default.
        runs: counted ones of every task.
        rest: seconds without work, after which a recording is timed as well; None for no such row.
        files: in a stream; None takes the device's default.
        listing: labelled recordings (see :func:`clap_export.parity.accuracy.read_listing`) to
            measure accuracy on.
    """

    bundles: tuple[Path, ...]
    providers: tuple[str, ...] = ()
    threads: tuple[int | None, ...] = (None,)
    peers: Peers = field(default_factory=Peers)
    device: Device = "cpu"
    tensorrt_python: Path | None = None
    clips: tuple[Path, ...] = ()
    batches: tuple[int, ...] | None = None
    runs: int = DEFAULT_RUNS
    rest: float | None = None
    files: int | None = None
    listing: Path | None = None


def candidates(request: Request) -> list[Candidate]:
    """Every bundle on every provider, and every peer, with every number of threads.

    Raises:
        ClapError: nothing to measure, an unknown peer, or peers without a checkpoint.
        BundleError: no bundle there, when its engines must be looked for.
    """
    device, peers = request.device, request.peers
    known = PEERS[device]
    unknown = [name for name in peers.names if name not in known]
    if unknown:
        raise ClapError(
            f"--against {', '.join(unknown)}: on --device {device}, choose from {', '.join(known)}."
        )
    if peers.names and peers.ckpt is None:
        raise ClapError(
            f"--against {', '.join(peers.names)} runs the weights that the bundle was made from: "
            "give them with --ckpt."
        )
    found = [
        Candidate(
            "bundle", path, name, device,
            python=request.tensorrt_python if name == "tensorrt" else None,
        )
        for path in request.bundles
        for name in request.providers or (_default_provider(path, device),)
    ]  # fmt: skip
    if not found:
        raise ClapError("nothing to measure: give at least one bundle.")
    if peers.ckpt is not None:
        found += [
            Candidate(
                kind, peers.ckpt, device=device, family=peers.family, tokenizer=peers.tokenizer
            )
            for name in peers.names
            for kind in known[name]
        ]
    return [replace(candidate, threads=count) for candidate in found for count in request.threads]


def _default_provider(bundle: Path, device: Device) -> str:
    if device == "cpu":
        return "cpu"
    return "cuda" if read_manifest(bundle).engines is None else "tensorrt"
