"""The models of a repository: a configuration and files for each, from a bundle or a tagger."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import runtime
from clap_export.triton.config import (
    ANY,
    FILES,
    Backend,
    Instances,
    Kind,
    ModelConfig,
    Tensor,
    Type,
)
from clap_export.triton.served import BANK, BUNDLE, TAGGER
from runtime import LabelBank, bank_file
from runtime.backends import GPU, TENSORRT
from runtime.bundle import Bundle
from runtime.clips.policy import chosen
from runtime.engines import Engine
from runtime.errors import BundleError, ClapError
from runtime.manifest import MANIFEST
from runtime.onnx_file import OnnxGraph
from runtime.prompts import check_templates
from runtime.scores import Ranking
from runtime.tagger_file import TaggerFile, engine_record

Form = Literal["onnx", "tensorrt", "python"]

VERSION = "1"
MOST_ROWS = 16  # of a batch, where no engine says otherwise
TYPES: dict[str, Type] = {
    "overview": "TYPE_INT64", "chunks": "TYPE_INT64", "longer": "TYPE_BOOL",
    "indices": "TYPE_INT64",
}  # fmt: skip
SERVED = """\
# Written by clap-export {version}. The runtime does the work: pip install clap-export.
from clap_export.triton.served.{name} import TritonPythonModel  # noqa: F401
"""


@dataclass(frozen=True)
class Wanted:
    """What was asked of a repository.

    Attributes:
        form: what runs the audio graph: Triton's ONNX Runtime or TensorRT backend, or the runtime
            in its Python backend.
        provider: on which the runtime runs graphs in the Python backend.
        max_batch: most rows of a run; None for the engine's, or 16.
        instances: of the models that hear; None for one.
        scores: of ``classify``.
        templates: for labels that come with a request; empty for the bundle's.
        windows: name of a policy, or None for the bundle's.
    """

    form: Form
    provider: str = "cpu"
    max_batch: int | None = None
    instances: int | None = None
    scores: Any = "softmax"
    templates: tuple[str, ...] = ()
    windows: str | None = None

    def rows(self, engine: Engine | None) -> int:
        """Most rows of a run.

        Raises:
            ClapError: the engine takes fewer.
        """
        most = MOST_ROWS if engine is None else engine.max_batch
        if engine is not None and (self.max_batch or 0) > most:
            raise ClapError(
                f"--max-batch {self.max_batch}: the engine '{engine.file}' was built for at most "
                f"{most} rows. Build it anew: clap-export build BUNDLE --max-batch {self.max_batch}"
            )
        return self.max_batch or most


@dataclass(frozen=True)
class Model:
    """A folder of the repository.

    Attributes:
        config: its ``config.pbtxt``.
        files: beside it, or in the version's folder: content by path.
    """

    config: ModelConfig
    files: dict[str, bytes] = field(repr=False)


def of_bundle(bundle: Bundle, bank: LabelBank | None, wanted: Wanted) -> Iterator[Model]:
    """``audio``, ``text`` and ``classify``.

    Args:
        bundle: opened with its hashes.
        bank: the labels that ``classify`` has, or None where every request brings its own.
        wanted: the rest.

    Raises:
        BundleError: a file was altered, the bank is of another space, or there are no engines.
        ClapError: an option that does not fit the bundle.
        LabelError: an ill-formed template.
    """
    manifest = bundle.manifest
    Ranking.of(manifest, wanted.scores, None, None, None).of_labels(None, wanted.scores)
    if wanted.templates:
        check_templates(wanted.templates)
    if bank is not None:
        if bank.head is not None:
            raise ClapError(
                "the labels are a head, whose scores are its own: freeze it into a tagger "
                "(clap-export freeze BUNDLE HEAD.npz -o tagger.onnx), and make the repository of "
                "that."
            )
        bank.check_fits(manifest)
    policy = chosen(
        wanted.windows, manifest.policy, manifest.audio, manifest.gives_norm, manifest.source.family
    )
    about = {
        "clap_export": runtime.__version__,
        "model": manifest.name,
        "space_id": manifest.space_id,
        "clip_space_id": policy.clip_space_id(manifest.space_id, manifest.audio),
        "sample_rate": str(manifest.audio.sample_rate),
        "window_samples": str(manifest.audio.window_samples),
    }
    audio = _audio(bundle, wanted, about)
    yield audio
    yield _text(bundle, wanted, about)
    yield _classify(bundle, bank, wanted, about, audio.config.max_batch)


def of_tagger(tagger: TaggerFile, wanted: Wanted) -> Iterator[Model]:
    """``tagger`` alone.

    Raises:
        BundleError: the file was altered, or there is no engine of it.
    """
    manifest, frozen = tagger.manifest, tagger.frozen
    about = {
        "clap_export": runtime.__version__,
        "model": manifest.name,
        "space_id": manifest.space_id,
        "scores": frozen.scores,
        "sample_rate": str(manifest.audio.sample_rate),
        "window_samples": str(manifest.audio.window_samples),
    }
    content, graph = tagger.graph(manifest.audio_graph)
    labels = {"labels.txt": "".join(f"{name}\n" for name in frozen.labels).encode()}
    engine = _engine(manifest.engines and manifest.engines.audio, wanted, tagger.folder)
    rows = wanted.rows(engine)
    if wanted.form != "python":
        files = labels | _graph_files(tagger, content.data, engine)
        config = _graph_config("tagger", graph, engine, rows, wanted, about)
        yield Model(config, files)
        return
    files = {**labels, **_python("tagger"), f"{VERSION}/{TAGGER}": content.data}
    if engine is not None:
        record = engine_record(tagger.folder)
        files[f"{VERSION}/{engine.file}"] = tagger.read(engine.file).data
        files[f"{VERSION}/{engine_record(Path(TAGGER))}"] = record.read_bytes()
    scores = [
        Tensor("labels", "TYPE_STRING", (len(frozen.labels),)),
        Tensor("scores", "TYPE_FP32", (len(frozen.labels),), "labels.txt"),
        Tensor("similarity", "TYPE_FP32", (len(frozen.labels),), "labels.txt"),
    ]
    more = {**about, **_where(wanted)}
    if wanted.windows is not None:
        more["windows"] = wanted.windows
    config = ModelConfig(
        "tagger", "python", rows, _recording(), tuple(scores), _instances(wanted, "python", engine),
        parameters=more,
    )  # fmt: skip
    yield Model(config, files)


def _audio(bundle: Bundle, wanted: Wanted, about: dict[str, str]) -> Model:
    manifest = bundle.manifest
    engine = _engine(manifest.engines and manifest.engines.audio, wanted, bundle.folder)
    rows = wanted.rows(engine)
    content, graph = bundle.graph(manifest.audio_graph, check_hash=True)
    config = _graph_config("audio", graph, engine, rows, wanted, about)
    if wanted.form != "python":
        return Model(config, _graph_files(bundle, content.data, engine))
    name = manifest.audio_graph.file if engine is None else engine.file
    return Model(config, {**_python("audio"), **_part(bundle, name)})


def _text(bundle: Bundle, wanted: Wanted, about: dict[str, str]) -> Model:
    manifest = bundle.manifest
    alone = Wanted("python", wanted.provider)  # texts are few: one instance
    engine = _engine(manifest.engines and manifest.engines.text, alone, bundle.folder)
    config = ModelConfig(
        "text", "python", alone.rows(engine),
        (Tensor("text", "TYPE_STRING", (1,)),),
        (Tensor("embedding", "TYPE_FP32", (manifest.embedding_dim,)),),
        _instances(alone, "python", engine), parameters={**about, **_where(alone)}, warm=True,
    )  # fmt: skip
    spec, graph = manifest.text_encoder
    word = manifest.default_template.format("sound").encode()
    name = graph.file if engine is None else engine.file
    files = {**_python("text"), **_part(bundle, name, spec.tokenizer)}
    # A string has its length before it.
    return Model(config, {**files, "warmup/words": struct.pack("<I", len(word)) + word})


def _classify(
    bundle: Bundle, bank: LabelBank | None, wanted: Wanted, about: dict[str, str], rows: int
) -> Model:
    manifest = bundle.manifest
    more = {**about, "scores": wanted.scores}
    if wanted.templates:
        more["templates"] = json.dumps(wanted.templates)
    if wanted.windows is not None:
        more["windows"] = wanted.windows
    labels = Tensor("labels", "TYPE_STRING", (ANY,), optional=bank is not None, ragged=True)
    config = ModelConfig(
        "classify", "python", rows, (*_recording(), labels),
        (
            Tensor("labels", "TYPE_STRING", (ANY,)),
            Tensor("scores", "TYPE_FP32", (ANY,)),
            Tensor("similarity", "TYPE_FP32", (ANY,)),
        ),
        Instances(wanted.instances or 1, "KIND_CPU"), parameters=more,
    )  # fmt: skip
    spec, _ = manifest.text_encoder
    files = {**_python("classify"), **_part(bundle, spec.tokenizer)}
    return Model(config, files if bank is None else {**files, f"{VERSION}/{BANK}": _npz(bank)})


def _recording() -> tuple[Tensor, Tensor]:
    waveform = Tensor("waveform", "TYPE_FP32", (ANY,), ragged=True)
    return waveform, Tensor("sample_rate", "TYPE_INT32", (1,), optional=True)


def _graph_config(
    name: str, graph: OnnxGraph, engine: Engine | None, rows: int, wanted: Wanted,
    about: dict[str, str],
) -> ModelConfig:  # fmt: skip
    """Of what takes and gives what a graph does."""
    backends: dict[Form, Backend] = {
        "onnx": "onnxruntime",
        "tensorrt": "tensorrt",
        "python": "python",
    }
    backend = backends[wanted.form]
    fixed = all(n is not None for shape in graph.inputs.values() for n in shape[1:])
    tuned = () if engine is None else engine.profiles
    best = {next(iter(profile.inputs.values())).opt[0] for profile in tuned}
    more = {**about, **_where(wanted)}
    return ModelConfig(
        name, backend, rows,
        tuple(_tensor(n, shape) for n, shape in graph.inputs.items()),
        tuple(_tensor(n, shape, name == "tagger") for n, shape in graph.outputs.items()),
        _instances(wanted, backend, engine),
        tuple(sorted(n for n in best if 1 < n <= rows)), more, warm=fixed,
    )  # fmt: skip


def _tensor(name: str, shape: tuple[int | None, ...], labelled: bool = False) -> Tensor:
    dims = tuple(ANY if n is None else n for n in shape[1:])
    named = labelled and name in ("scores", "similarity")
    return Tensor(name, TYPES.get(name, "TYPE_FP32"), dims, "labels.txt" if named else "")


def _engine(engine: Engine | None, wanted: Wanted, source: Path) -> Engine | None:
    """The engine, where one is asked for."""
    if wanted.form != "tensorrt" and wanted.provider != TENSORRT:
        return None
    if engine is None:
        raise BundleError(
            f"TensorRT was asked for, and {source} has no engines. Build them on a machine with "
            f"the GPU and the TensorRT of the server: clap-export build {source}"
        )
    if wanted.form == "tensorrt" and engine.library != "tensorrt":
        raise BundleError(
            f"the engine '{engine.file}' was built by TensorRT-RTX, which Triton has no backend "
            "for. Build it by TensorRT (clap-export build --library tensorrt), or take "
            "--form python --provider tensorrt."
        )
    return engine


def _graph_files(bundle: Bundle, graph: bytes, engine: Engine | None) -> dict[str, bytes]:
    data = graph if engine is None else bundle.read(engine.file, check_hash=True).data
    return {f"{VERSION}/{FILES['onnxruntime' if engine is None else 'tensorrt']}": data}


def _python(name: str) -> dict[str, bytes]:
    text = SERVED.format(version=runtime.__version__, name=name)
    return {f"{VERSION}/{FILES['python']}": text.encode()}


def _part(bundle: Bundle, *names: str) -> dict[str, bytes]:
    """The manifest, and some of the files that it names."""
    files = {name: bundle.read(name, check_hash=True).data for name in names}
    files[MANIFEST] = bundle.manifest_bytes
    return {f"{VERSION}/{BUNDLE}/{name}": data for name, data in files.items()}


def _where(wanted: Wanted) -> dict[str, str]:
    """Parameters that say how an engine runs."""
    several = (wanted.instances or 1) > 1  # on a CPU each has a core, as the runtime's own have
    if wanted.form == "onnx":
        return {"intra_op_thread_count": "1"} if several else {}
    if wanted.form == "tensorrt":
        return {}
    threads = {"threads": "1"} if several and wanted.provider not in GPU else {}
    return {"provider": wanted.provider, **threads}


def _instances(wanted: Wanted, backend: Backend, engine: Engine | None) -> Instances:
    kinds: dict[Backend, Kind] = {
        "onnxruntime": "KIND_AUTO",
        "tensorrt": "KIND_GPU",
        "python": "KIND_GPU" if wanted.provider in GPU else "KIND_CPU",
    }
    profiles = 0 if engine is None or backend != "tensorrt" else len(engine.profiles)
    return Instances(wanted.instances or 1, kinds[backend], profiles)


def _npz(bank: LabelBank) -> bytes:
    file = io.BytesIO()
    meta = bank_file.Meta(
        bank_file.FORMAT, bank_file.FORMAT_VERSION, bank.space_id, bank.names, bank.templates
    )
    bank_file.write(file, meta, bank.embeddings)
    return file.getvalue()
