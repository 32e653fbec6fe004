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
from runtime.audio_spec import AudioSpec, Count
from runtime.clips.policy import Policy
from runtime.engines import Engines
from runtime.errors import BundleError, SchemaError
from runtime.prompts import MOST_LETTERS
from runtime.schema import Text, Within

FORMAT = "clap-export-bundle"
FORMAT_VERSION = 4
# Without a policy of its own, and with an audio graph that gives no norms.
OLDER_VERSION = 3
MANIFEST = "manifest.json"
MOST_MANIFEST = 4 << 20  # bytes; ours have 3 to 30 thousand
# The tensor between frontend and encoder keeps this name inside the audio graph, so that its
# numbers can be verified and its types told apart; it is not an output.
LOG_MEL = "log_mel"
# Outputs of the graphs: unit vectors [batch, dim] of both, and of the audio graph the L2 norms
# [batch] that they had, so that the encoder's raw vector is norm * embedding. They are taken by
# name: engines may give them in another order.
EMBEDDING, NORM = "embedding", "norm"

Bytes: TypeAlias = Annotated[int, Within(0, 1 << 40)]
TokenId: TypeAlias = Annotated[int, Within(0, 1 << 24)]
Scale: TypeAlias = Annotated[float, Within(1e-6, 1e6)]
Bias: TypeAlias = Annotated[float, Within(-1e6, 1e6)]
Measured: TypeAlias = Annotated[float, Within(-math.inf, math.inf, nan=True)]
Name: TypeAlias = Annotated[str, Text(255)]  # of a file, a model, a measure
Prose: TypeAlias = Annotated[str, Text(4096)]

Precision = Literal["fp32", "fp16", "int8", "bf16", "int8+bf16"]
# What the graphs of such a bundle are in their files, which is how an engine or a CPU without
# bfloat16 runs them.
IN_FILES: dict[Precision, Precision] = {"bf16": "fp32", "int8+bf16": "int8"}


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

    @property
    def bfloat16(self) -> bool:
        """Whether the encoder body may be computed in bfloat16 where engine and CPU have it. The
        file is the same as without: ONNX Runtime has no bfloat16 on CPUs."""
        return self.precision in IN_FILES

    @property
    def in_file(self) -> Precision:
        """What the graph's types are, and what it runs in without bfloat16."""
        return IN_FILES.get(self.precision, self.precision)


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
        policy: how a recording becomes windows, and their embeddings one, unless a caller says
            otherwise.
        text: how texts are prepared; None, as is ``text_graph``, of a bundle that is used with
            label banks alone.
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
    policy: Policy
    text: TextSpec | None
    audio_graph: Graph
    text_graph: Graph | None
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
        whole = self.engines is None or (self.engines.text is None) == (self.text is None)
        if (self.text is None) != (self.text_graph is None) or not whole:
            raise ValueError(
                "'text' and 'text_graph', and 'text' of 'engines' if there are any, must all be "
                "null or none of them"
            )

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """Those that there are, that for recordings first."""
        return (
            (self.audio_graph,) if self.text_graph is None else (self.audio_graph, self.text_graph)
        )

    @property
    def text_encoder(self) -> tuple[TextSpec, Graph]:
        """How texts are prepared, and the graph that embeds them.

        Raises:
            BundleError: the bundle has none.
        """
        if self.text is None or self.text_graph is None:
            raise BundleError(
                "there is no text encoder here, so labels must come as a saved bank (.npz), which "
                "the whole bundle makes: clap-export labels BUNDLE FILE -o bank.npz"
            )
        return self.text, self.text_graph

    @property
    def gives_norm(self) -> bool:
        """Whether the audio graph gives norms, of which the encoder's raw vectors are made."""
        return self.format_version > OLDER_VERSION


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
    if isinstance(version, bool) or version not in (OLDER_VERSION, FORMAT_VERSION):
        raise BundleError(
            f"{path} has format_version {schema.shown(version)}; this runtime reads "
            f"{OLDER_VERSION} and {FORMAT_VERSION}. Export it again, or install the runtime that "
            "wrote it."
        )
    try:
        if version == FORMAT_VERSION:
            return schema.read(Manifest, table, str(path))
        if "policy" in table:
            raise SchemaError(f"{path}: unknown key 'policy' in format_version {version}")
        older = schema.read(Manifest, {**table, "policy": {"name": "default"}}, str(path))
        return replace(older, policy=Policy.of(older.audio))
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
    table = schema.to_plain(manifest)
    if manifest.format_version == OLDER_VERSION:
        del table["policy"]  # which was not there, and is what such bundles have always meant
    text = json.dumps(table, indent=2, ensure_ascii=False) + "\n"
    with files.writing(folder / MANIFEST, error=BundleError) as part:
        part.write_text(text, encoding="utf-8")
