"""The file of a tagger: a bundle's audio graph with labels inside, in one ONNX file.

What the labels are and how a recording is prepared stands in the file's metadata: under ``KEY`` the
labels, under ``MANIFEST_KEY`` the manifest of the bundle that it was made of, as it was there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from runtime import onnx_file, schema
from runtime.bundle import Bundle
from runtime.content import Content
from runtime.engines import Engine, Engines
from runtime.errors import BundleError
from runtime.head import About, Head
from runtime.labels import LabelBank
from runtime.manifest import Graph, parse_manifest
from runtime.onnx_file import OnnxGraph
from runtime.prompts import MOST_LETTERS
from runtime.schema import Text, Within

KEY, MANIFEST_KEY = "clap-export-tagger", "clap-export-manifest"
FORMAT_VERSION: Literal[1] = 1
HEAD_VERSION: Literal[2] = 2
LABELS = "label_embeddings"  # the constant, float32 [labels, dim] of unit norm
SCALES, BIASES = "label_scales", "label_biases"  # of a head: float32 [labels] each
OUTPUTS = ("scores", "similarity", "embedding")


@dataclass(frozen=True)
class Frozen:
    """What a tagger says of its labels.

    Attributes:
        labels: their names, in the order of ``scores``.
        templates: the prompts they were put through; empty when every label had its own texts.
        scores: what ``scores`` are.
        top_k: length of ``values`` and ``indices``, or None where there are none.
        labels_sha256: of the bytes of the labels' embeddings, little-endian float32.
        head: of labels that were learned from examples, what is said of them; else None.
    """

    format_version: Literal[1, 2]
    labels: tuple[str, ...]
    templates: tuple[Annotated[str, Text(MOST_LETTERS)], ...]
    scores: Literal["softmax", "cosine", "multilabel"]
    top_k: Annotated[int, Within(1, 1 << 24)] | None
    labels_sha256: Annotated[str, Text(255)]
    head: About | None = None

    def __post_init__(self) -> None:
        if (self.head is not None) != (self.format_version == HEAD_VERSION):
            raise ValueError("a tagger of a head has the format_version 2, and 'head'")


@dataclass(frozen=True)
class BuiltFrom:
    """What is said, in a file beside a tagger, of the engine that was built from it.

    Attributes:
        tagger_sha256: of the tagger's file.
        sha256: of the engine's file.
        bytes: of it.
        engine: what built it, for which GPUs and shapes; its file lies beside the tagger.
    """

    format_version: Literal[1]
    tagger_sha256: Annotated[str, Text(255)]
    sha256: Annotated[str, Text(255)]
    bytes: Annotated[int, Within(0, 1 << 40)]
    engine: Engine


def engine_record(path: Path) -> Path:
    """Where :class:`BuiltFrom` of a tagger is."""
    return path.with_name(f"{path.name}.engine.json")


class TaggerFile(Bundle):
    """A tagger's file, opened and checked; a bundle without a text encoder.

    Args:
        path: of the file.
        engine: look for the TensorRT engine that was built from it, beside it.

    Attributes:
        frozen: what it says of its labels.
        bank: the labels and their embeddings.
        sha256: of the file.

    Raises:
        BundleError: no such file, or no tagger that can be used.
        SchemaError: its metadata has unknown, missing or ill-typed keys (all are listed).
        LabelError: its labels are unusable.
    """

    listed = False  # it has the manifest of the bundle that it was made of

    def __init__(self, path: str | Path, *, engine: bool = True) -> None:
        self.folder = Path(path)
        self.check_hashes = self.signed = False
        content = Content.read(self.folder, BundleError)
        if self.folder.suffix in (".xml", ".bin"):
            raise BundleError(
                f"'{path}' is in OpenVINO's own format, for programs that use OpenVINO alone: give "
                "the tagger's .onnx, which providers=('openvino',) run on OpenVINO just as well."
            )
        graph = onnx_file.check(content.data, content.name)
        if KEY not in graph.metadata or MANIFEST_KEY not in graph.metadata:
            raise BundleError(
                f"'{path}' is an ONNX file, but no tagger: it says nothing of labels. Make one: "
                "clap-export freeze BUNDLE LABELS -o tagger.onnx"
            )
        self.manifest_bytes = graph.metadata[MANIFEST_KEY].encode()
        found = parse_manifest(self.folder, self.manifest_bytes)
        self.sha256 = content.sha256()
        self._built = self._engine() if engine else None
        engines = None
        if self._built is not None:
            # The text graph is not in this file, and what asks for it hears of `read`.
            made = self._built.engine
            engines = Engines(made, None if found.text is None else made)
        # Its last product gives the cosines themselves, for which bfloat16 is too coarse.
        exact = replace(found.audio_graph, precision=found.audio_graph.in_file)
        self.manifest = replace(found, engines=engines, audio_graph=exact)
        data = schema.read_json(graph.metadata[KEY].encode(), str(path), BundleError)
        self.frozen = schema.read(Frozen, data, str(path))
        self.bank = self._bank(graph)
        self._content: tuple[Content, OnnxGraph] | None = content, graph

    @property
    def has_text(self) -> bool:
        """Never, though the manifest of the bundle may name a text encoder."""
        return False

    def read(self, name: str, *, check_hash: bool = False) -> Content:
        """The engine's file, if there is one; its hash is always compared.

        Raises:
            BundleError: it was altered, or another file is asked for: there is no text encoder.
        """
        built = self._built
        if built is None or name != built.engine.file:
            raise BundleError(
                f"'{self.folder}' is a tagger, with its labels inside and no text encoder: for "
                "other labels take the bundle, or clap-export freeze --relabel with a bank of them."
            )
        content = Content.read(self.folder.with_name(name), BundleError)
        if len(content.data) != built.bytes or content.sha256() != built.sha256:
            raise BundleError(f"'{content.path}' is not the engine that was built. {self._rebuild}")
        return content

    def graph(self, graph: Graph, *, check_hash: bool = False) -> tuple[Content, OnnxGraph]:
        """The file, and what it holds; see :meth:`runtime.bundle.Bundle.graph`.

        Raises:
            BundleError: it is the text graph, or the file is not the one any more that was opened.
        """
        if graph != self.manifest.audio_graph:
            self.read(graph.file)
        content, self._content = self._content, None  # an engine keeps what it needs of it
        if content is not None:
            return content
        again = Content.read(self.folder, BundleError)
        if again.sha256() != self.sha256:
            raise BundleError(f"'{self.folder}' was changed while it was in use: open it again.")
        return again, onnx_file.check(again.data, again.name)

    @contextmanager
    def graph_in_use(
        self, graph: Graph, *, check_hash: bool = False
    ) -> Generator[tuple[Content, OnnxGraph]]:
        """:meth:`graph`: its hash was taken when it was opened."""
        yield self.graph(graph, check_hash=check_hash)

    def check_contents(self) -> None:
        """Nothing is left to be looked into."""

    @property
    def _rebuild(self) -> str:
        return f"Build it again: clap-export build {self.folder}"

    def _engine(self) -> BuiltFrom | None:
        path = engine_record(self.folder)
        if not path.is_file():
            return None
        built = schema.read(BuiltFrom, schema.read_json(path, error=BundleError), str(path))
        if Path(built.engine.file).name != built.engine.file:
            raise BundleError(f"{path}: the engine lies in another folder. {self._rebuild}")
        if built.tagger_sha256 != self.sha256:
            raise BundleError(f"{path} is of another tagger than '{self.folder}'. {self._rebuild}")
        return built

    def _bank(self, graph: OnnxGraph) -> LabelBank:
        frozen, manifest = self.frozen, self.manifest
        count = len(frozen.labels)
        embeddings = self._constant(graph, LABELS, (count, manifest.embedding_dim))
        if hashlib.sha256(embeddings.astype("<f4").tobytes()).hexdigest() != frozen.labels_sha256:
            raise self._ill("its labels do not have the recorded SHA-256")
        if missing := [name for name in OUTPUTS if name not in graph.outputs]:
            raise self._ill(f"it gives no '{missing[0]}'")
        head = None
        if frozen.head is not None:
            scales, biases = (self._constant(graph, name, (count,)) for name in (SCALES, BIASES))
            head = Head(scales, biases, frozen.head)
            if problems := head.problems(embeddings):
                raise self._ill(f"of its head, {problems[0]}")
        space = manifest.space_id
        return LabelBank(frozen.labels, frozen.templates, embeddings, space, head=head)

    def _constant(self, graph: OnnxGraph, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        found = graph.tensors.get(name)
        if found is None or found.raw is None or not found.is_float or found.dims != shape:
            raise self._ill(f"its labels are no constant '{name}' of float32 {shape}")
        # A copy of its own: the rest of the file need not be kept for it.
        values: NDArray[np.float32] = np.ndarray(shape, "<f4", found.raw).astype(np.float32)
        return values

    def _ill(self, problem: str) -> BundleError:
        return BundleError(f"'{self.folder}' is a damaged tagger: {problem}. Freeze it again.")
