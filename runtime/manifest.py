"""What a bundle's manifest says, read strictly.

The reader owns the schema; the exporter imports it from here. The format is specified in
docs/bundle-format.md, so that readers in other languages can be written from it.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, cast

from runtime import files, schema
from runtime.engines import Engines
from runtime.errors import BundleError, SchemaError
from runtime.prompts import MOST_LETTERS
from runtime.schema import Text, Within

FORMAT = "clap-export-bundle"
FORMAT_VERSION = 3
MANIFEST = "manifest.json"
MOST_MANIFEST = 4 << 20  # bytes; ours have 3 to 30 thousand
# The tensor between frontend and encoder keeps this name inside the audio graph, so that its
# numbers can be verified and its types told apart; it is not an output.
LOG_MEL = "log_mel"

# Bounds of what a manifest may say: far above what any model has, and far below what would ask for
# all memory of a machine.
MOST_RATE = 768_000  # Hz
MOST_OVERLAP = 64  # windows over one sample, by the manifest's hop
Count: TypeAlias = Annotated[int, Within(1, 1 << 16)]  # mel bins, dimensions, tokens
Rate: TypeAlias = Annotated[int, Within(1, MOST_RATE)]
Samples: TypeAlias = Annotated[int, Within(1, 1 << 24)]  # of a window: six minutes at 44.1 kHz
Hertz: TypeAlias = Annotated[float, Within(0, MOST_RATE)]
Bytes: TypeAlias = Annotated[int, Within(0, 1 << 40)]
TokenId: TypeAlias = Annotated[int, Within(0, 1 << 24)]
Scale: TypeAlias = Annotated[float, Within(1e-6, 1e6)]
Bias: TypeAlias = Annotated[float, Within(-1e6, 1e6)]
Measured: TypeAlias = Annotated[float, Within(-math.inf, math.inf, nan=True)]
Name: TypeAlias = Annotated[str, Text(255)]  # of a file, a model, a measure
Prose: TypeAlias = Annotated[str, Text(4096)]

Fill = Literal["repeat", "repeatpad", "pad"]
LongClips = Literal["windows", "fusion"]
Precision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True)
class Mel:
    """The log-mel frontend that is fused into the audio graph (for information and for peers).

    Attributes:
        sample_rate: that the filterbank was computed for, in Hz. It need not be the input's: the
            2023 model of msclap was trained with a bank for 32 kHz on recordings at 44.1 kHz.
    """

    sample_rate: Rate
    n_fft: Count
    hop_length: Count
    n_mels: Count
    f_min: Hertz
    f_max: Hertz
    scale: Literal["slaney", "htk"]
    norm: Literal["slaney"] | None
    amin: Annotated[float, Within(0, 1)]


@dataclass(frozen=True)
class AudioSpec:
    """How waveforms are prepared for the audio graph.

    Attributes:
        sample_rate: of the graph's input, in Hz.
        window_samples: fixed length of the graph's input.
        hop_samples: default distance between the starts of a long clip's windows.
        fill: how a clip shorter than the window is extended: ``repeat`` (tiled, then cut),
            ``repeatpad`` (whole copies, then zeros) or ``pad`` (zeros).
        int16_round_trip: samples go through int16 first, as the family was trained.
        mel: the frontend inside the graph.
        long_clips: how a clip longer than the window is embedded: ``windows`` (the mean of its
            windows' embeddings) or ``fusion`` (at once; see :mod:`runtime.fusion`).
    """

    sample_rate: Rate
    window_samples: Samples
    hop_samples: Samples
    fill: Fill
    int16_round_trip: bool
    mel: Mel
    long_clips: LongClips = "windows"

    def __post_init__(self) -> None:
        lengths = f"hop_samples={self.hop_samples}, window_samples={self.window_samples}"
        if self.sample_rate < 1 or not 1 <= self.hop_samples <= self.window_samples:
            raise ValueError(
                f"sample_rate={self.sample_rate}, {lengths}: all must be at least 1, and the hop "
                "at most the window"
            )
        if self.hop_samples * MOST_OVERLAP < self.window_samples:
            raise ValueError(f"{lengths}: the hop must be a {MOST_OVERLAP}th of the window or more")


@dataclass(frozen=True)
class TextSpec:
    """How texts are prepared for the text graph.

    Attributes:
        tokenizer: file name of a ``tokenizers`` JSON inside the bundle.
        max_tokens: most tokens of a text; longer ones are cut with a warning.
        pad_id: token that fills the rest, on the right.
        inputs: the graph's inputs, in order, from ``input_ids``, ``attention_mask`` and
            ``token_type_ids``; each ``[batch, tokens]`` int64, 2 to ``max_tokens`` of them.
        suffix: appended to every text before tokenising.
    """

    tokenizer: Name
    max_tokens: Count
    pad_id: TokenId
    inputs: tuple[Literal["input_ids", "attention_mask", "token_type_ids"], ...]
    suffix: Name

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or "input_ids" not in self.inputs:
            raise ValueError(
                f"max_tokens={self.max_tokens}, inputs={self.inputs}: there must be at least one "
                "token, and 'input_ids' among the inputs"
            )


@dataclass(frozen=True)
class Graph:
    """One encoder file: its name in the bundle, precision of the encoder body, ONNX opset."""

    file: Name
    precision: Precision
    opset: Annotated[int, Within(1, 1000)]


@dataclass(frozen=True)
class Source:
    """Where the weights came from; ``family`` is a value of ``--family``."""

    family: Name
    checkpoint: Prose
    sha256: Name
    licence: Prose

    def __post_init__(self) -> None:
        # Older bundles say which of msclap's two models it is; the model's name says it too.
        if self.family.startswith("msclap-"):
            object.__setattr__(self, "family", "msclap")


@dataclass(frozen=True)
class Calibration:
    """Multi-label probability of a label: ``sigmoid(scale * cosine + bias)``."""

    scale: Bias
    bias: Bias


@dataclass(frozen=True)
class FileEntry:
    """Size and hash of one file."""

    sha256: Name
    bytes: Bytes


@dataclass(frozen=True)
class Finding:
    """Something suspicious about the checkpoint, seen at export: a fixed name, and a sentence."""

    name: Name
    detail: Prose


@dataclass(frozen=True)
class Check:
    """One measured parity figure: ``value`` is the tolerance it would have needed."""

    name: Name
    value: Measured
    limit: Measured
    unit: Name
    passed: bool


@dataclass(frozen=True)
class Parity:
    """What ``verify`` measured on this bundle through the runtime."""

    passed: bool
    provider: Name
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Candidate:
    """A precision on an engine, as ``--precision auto`` measured it on the exporting machine.

    Attributes:
        single: median milliseconds of the audio encoder for one window.
        batched: the same for a window in a batch of four.
    """

    precision: Precision
    provider: Name
    single: Measured
    batched: Measured
    chosen: bool


@dataclass(frozen=True)
class Manifest:
    """Everything a reader must know; docs/bundle-format.md is the specification.

    Attributes:
        space_id: hash of what defines the embedding space; a label bank of another is refused.
        embedding_dim: length of both graphs' outputs, which are L2-normalised float32.
        logit_scale: multiplies cosines before the softmax over labels.
        default_template: prompt with one ``{}`` for the label.
        files: every file of the bundle except the manifest itself.
        findings: warnings about the checkpoint.
        parity: None until verified.
        race: what ``--precision auto`` chose from, quickest first; else empty.
        engines: TensorRT engines built from the graphs, if there are any.
    """

    format: str
    format_version: int
    name: Name
    source: Source
    space_id: Name
    embedding_dim: Count
    logit_scale: Scale
    calibration: Calibration | None
    default_template: Annotated[str, Text(MOST_LETTERS)]
    audio: AudioSpec
    text: TextSpec
    audio_graph: Graph
    text_graph: Graph
    files: dict[Name, FileEntry]
    tools: dict[Name, Name]
    findings: tuple[Finding, ...]
    parity: Parity | None
    race: tuple[Candidate, ...]
    engines: Engines | None

    def __post_init__(self) -> None:
        if self.default_template.count("{}") != 1:
            raise ValueError(f"default_template {self.default_template!r} must hold one {{}}")
        if not self.space_id.strip():
            raise ValueError("space_id is empty: it says which label banks belong to the model")


def read_manifest(folder: Path) -> Manifest:
    """Read and check ``manifest.json`` of a bundle (not the files it lists).

    Raises:
        BundleError: no manifest, not JSON, not a bundle's manifest, or another format version.
        SchemaError: keys that do not fit the schema.
    """
    return parse_manifest(folder / MANIFEST, read_manifest_file(folder))


def read_manifest_file(folder: Path) -> bytes:
    """The bytes of a bundle's manifest.

    Raises:
        BundleError: it is missing, or cannot be read.
    """
    if os.path.isfile(folder):  # which takes any name
        raise BundleError(f"{folder} is a file: a bundle is a folder with a {MANIFEST}. Pass that.")
    return files.read(
        folder / MANIFEST,
        most=MOST_MANIFEST,
        missing=f"no bundle at {folder}: {MANIFEST} was not found there. "
        "Make one with: clap-export --ckpt CHECKPOINT --target onnx --out DIR",
        error=BundleError,
    )


def parse_manifest(path: Path, data: bytes) -> Manifest:
    """A manifest from its bytes; see :func:`read_manifest`."""
    table = schema.read_json(data, str(path), BundleError)
    table = cast("dict[str, object]", table if isinstance(table, dict) else {})
    if table.get("format") != FORMAT:
        raise BundleError(f"{path} is not the manifest of a clap-export bundle ('format' differs).")
    version = table.get("format_version")
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{path} has format_version {schema.shown(version)}; this runtime reads "
            f"{FORMAT_VERSION}. Export it again, or install the runtime that wrote it."
        )
    try:
        return schema.read(Manifest, table, str(path))
    except SchemaError as error:
        raise SchemaError(f"{error}. Export it again, or mend the manifest.") from None


def amend(folder: Path, manifest: Manifest, **changed: Any) -> Manifest:
    """Write a manifest with some of its fields changed, which comes back.

    The runtime opens what is on disk: a manifest is written when a bundle is made, and amended by
    what is measured on it.

    Raises:
        BundleError: the folder cannot be written.
    """
    amended = replace(manifest, **changed)
    write_manifest(folder, amended)
    return amended


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``; readers see the old one or the new one.

    Raises:
        BundleError: the folder cannot be written.
    """
    text = json.dumps(schema.to_plain(manifest), indent=2, ensure_ascii=False) + "\n"
    with files.writing(folder / MANIFEST, error=BundleError) as part:
        part.write_text(text, encoding="utf-8")
