"""The verb ``triton``: repositories whose configurations Triton's own definitions hold to be right,
with the bundle's files in them, or one sentence and nothing written.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from clap_export.cli import main
from runtime import Bundle, Encoder, LabelBank
from runtime.clips import fusion
from runtime.engines import Engine, Profile
from runtime.errors import BundleError
from runtime.manifest import read_manifest, write_manifest
from runtime.tagger_file import BuiltFrom, engine_record
from tests.clap_export.triton.schema import definitions, read
from tests.tiny import bundle as tiny
from tests.tiny import engines as tinyengines

FORMS = ("onnx", "python")
GRAPH_TYPES = {
    onnx.TensorProto.FLOAT: "TYPE_FP32", onnx.TensorProto.INT64: "TYPE_INT64",
    onnx.TensorProto.BOOL: "TYPE_BOOL",
}  # fmt: skip


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in ("triton", *arguments)])


def made(out: Path, *arguments: object) -> dict[str, Any]:
    """The configurations in a repository that the command wrote, by the models' names."""
    done = call(*arguments, "--out", out)
    assert done.exit_code == 0, done.output
    configs = {path.parent.name: read(path.parent) for path in out.glob("*/config.pbtxt")}
    assert {name: config.name for name, config in configs.items()} == {n: n for n in configs}
    return configs


def refused(out: Path, *arguments: object) -> str:
    """The sentence; nothing is left behind."""
    before = sorted(out.parent.iterdir())
    done = call(*arguments, "--out", out)
    assert done.exit_code == 2, done.output
    assert sorted(out.parent.iterdir()) == before
    return done.output


def tensors(fields: Any) -> dict[str, tuple[str, list[int]]]:
    """Types and shapes by name; a reshape is applied."""
    names = definitions().DataType.Name
    return {
        f.name: (
            names(f.data_type), list(f.reshape.shape) if f.HasField("reshape") else list(f.dims)
        )
        for f in fields
    }  # fmt: skip


def graph_tensors(infos: Any) -> dict[str, tuple[str, list[int]]]:
    """The same of an ONNX graph, read by onnx."""
    return {
        i.name: (
            GRAPH_TYPES[i.type.tensor_type.elem_type],
            [d.dim_value or -1 for d in i.type.tensor_type.shape.dim][1:],
        )
        for i in infos
    }


@pytest.fixture
def tagger(tiny_bundle: Path, tmp_path: Path) -> Path:
    path = tmp_path / "street.onnx"
    arguments = ["freeze", str(tiny_bundle), "dog,rain,bell", "-o", str(path), "--top-k", "2"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    return path


@pytest.mark.parametrize("form", FORMS)
def test_audio_takes_and_gives_what_the_graph_does(
    tiny_bundle: Path, tmp_path: Path, form: str
) -> None:
    configs = made(tmp_path / "r", tiny_bundle, "--form", form, "--max-batch", 8, "--instances", 3)
    audio = configs["audio"]
    graph = onnx.load(str(tiny_bundle / "audio.onnx")).graph
    assert tensors(audio.input) == graph_tensors(graph.input)
    assert tensors(audio.output) == graph_tensors(graph.output)
    assert audio.max_batch_size == 8
    assert audio.dynamic_batching.max_queue_delay_microseconds > 0
    assert [g.count for g in audio.instance_group] == [3]
    assert audio.version_policy.latest.num_versions == 1
    assert [w.batch_size for w in audio.model_warmup] == [1, 8]
    manifest = read_manifest(tiny_bundle)
    assert audio.parameters["space_id"].string_value == manifest.space_id
    with Encoder(tiny_bundle) as encoder:
        assert audio.parameters["clip_space_id"].string_value == encoder.clip_space_id
    # Several on a CPU: a thread for each.
    threads = {"onnx": "intra_op_thread_count", "python": "threads"}[form]
    assert audio.parameters[threads].string_value == "1"


def test_text_and_classify(tiny_bundle: Path, tmp_path: Path) -> None:
    template = 'a "sound" \\of {}: Größe'
    configs = made(
        tmp_path / "r", tiny_bundle, "--labels", "dog,rain", "--template", template,
        "--scores", "cosine", "--windows", "spaced:3",
    )  # fmt: skip
    assert set(configs) == {"audio", "text", "classify"}
    text, classify = configs["text"], configs["classify"]
    assert tensors(text.input) == {"text": ("TYPE_STRING", [1])}
    assert tensors(text.output) == {"embedding": ("TYPE_FP32", [tiny.DIM])}
    assert {f.name: f.optional for f in classify.input} == {
        "waveform": False, "sample_rate": True, "labels": True,
    }  # fmt: skip
    assert set(tensors(classify.output)) == {"labels", "scores", "similarity"}
    said = {key: value.string_value for key, value in classify.parameters.items()}
    assert json.loads(said["templates"]) == [template]
    assert (said["scores"], said["windows"]) == ("cosine", "spaced:3")
    bank = LabelBank.load(tmp_path / "r" / "classify" / "1" / "labels.npz")
    assert (bank.names, bank.templates) == (("dog", "rain"), (template,))
    # The warm-up's string has its length before it.
    data = (tmp_path / "r" / "text" / "warmup" / "words").read_bytes()
    assert int.from_bytes(data[:4], "little") == len(data) - 4
    assert data[4:] == b"this is a sound of sound"


def test_without_labels_every_request_must_bring_them(tiny_bundle: Path, tmp_path: Path) -> None:
    classify = made(tmp_path / "r", tiny_bundle)["classify"]
    assert not next(f for f in classify.input if f.name == "labels").optional
    assert not (tmp_path / "r" / "classify" / "1" / "labels.npz").exists()


def test_files_are_the_bundles_and_each_model_has_only_its_own(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    made(tmp_path / "onnx", tiny_bundle)
    made(tmp_path / "python", tiny_bundle, "--form", "python")
    data = {p.name: p.read_bytes() for p in tiny_bundle.iterdir()}
    assert (tmp_path / "onnx/audio/1/model.onnx").read_bytes() == data["audio.onnx"]
    has = {"audio": {"audio.onnx"}, "text": {"text.onnx", "tokenizer.json"},
           "classify": {"tokenizer.json"}}  # fmt: skip
    for name, files in has.items():
        folder = tmp_path / "python" / name / "1" / "bundle"
        found = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert found == {n: data[n] for n in (*files, "manifest.json")}
        # It is a bundle of which the rest is elsewhere.
        Bundle(folder, only=files)
        with pytest.raises(BundleError, match="is missing"):
            Bundle(folder)
    for out in ("onnx", "python"):
        lines = (tmp_path / out / "SHA256SUMS").read_text().splitlines()
        sums = dict(line.split("  ")[::-1] for line in lines)
        root = tmp_path / out
        files = {p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()}
        assert set(sums) == {f for f in files if not f.endswith("config.pbtxt") and "/" in f}
        for name, digest in sums.items():
            assert hashlib.sha256((root / name).read_bytes()).hexdigest() == digest


def test_engines_bring_their_profiles(tmp_path: Path) -> None:
    bundle = tinyengines.build(tmp_path / "b")
    manifest = read_manifest(bundle)
    assert manifest.engines is not None
    single, several = manifest.engines.audio.profiles
    row = several.inputs["waveform"]
    tuned = Profile({"waveform": replace(row, opt=(2, tiny.WINDOW))})
    made_for_two = replace(manifest.engines.audio, profiles=(single, tuned))
    engines = replace(manifest.engines, audio=made_for_two)
    write_manifest(bundle, replace(manifest, engines=engines))
    audio = made(tmp_path / "r", bundle, "--instances", 2)["audio"]
    graph = onnx.load(str(bundle / "audio.onnx")).graph
    assert audio.backend == "tensorrt"
    assert tensors(audio.input) == graph_tensors(graph.input)
    assert audio.max_batch_size == tinyengines.MAX_BATCH
    assert list(audio.dynamic_batching.preferred_batch_size) == [2]
    (group,) = audio.instance_group
    assert list(group.profile) == ["0", "1"]
    assert definitions().ModelInstanceGroup.Kind.Name(group.kind) == "KIND_GPU"
    engine = (tmp_path / "r/audio/1/model.plan").read_bytes()
    assert engine == (bundle / "audio.engine").read_bytes()
    page = (tmp_path / "r" / "README.md").read_text("utf-8")
    assert f"built by tensorrt {tinyengines.VERSION}" in page
    assert "--gpus=1" in page


def test_a_bundle_with_engines_in_other_forms(tmp_path: Path) -> None:
    bundle = tinyengines.build(tmp_path / "b")
    assert made(tmp_path / "o", bundle, "--form", "onnx")["audio"].backend == "onnxruntime"
    configs = made(tmp_path / "p", bundle, "--form", "python", "--provider", "tensorrt")
    gpu = definitions().ModelInstanceGroup.KIND_GPU
    for name in ("audio", "text"):
        files = {path.name for path in (tmp_path / "p" / name / "1" / "bundle").iterdir()}
        assert f"{name}.engine" in files
        assert f"{name}.onnx" not in files
        assert configs[name].instance_group[0].kind == gpu
        assert configs[name].parameters["provider"].string_value == "tensorrt"


def test_fewer_rows_than_the_engine_takes_and_never_more(tmp_path: Path) -> None:
    bundle = tinyengines.build(tmp_path / "b")
    audio = made(tmp_path / "r", bundle, "--max-batch", 3)["audio"]
    assert audio.max_batch_size == 3
    assert list(audio.dynamic_batching.preferred_batch_size) == []
    said = refused(tmp_path / "s", bundle, "--max-batch", 5)
    assert "built for at most 4 rows" in said
    assert "--max-batch 5" in said


@pytest.mark.slow
def test_feature_fusion_has_all_its_inputs(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from clap_export.export.pack import write_bundle
    from tests import tiny as tinymodels

    write_bundle(tinymodels.checkpoint(audio=tinymodels.FUSION), tmp_path / "b")
    audio = made(tmp_path / "r", tmp_path / "b")["audio"]
    graph = onnx.load(str(tmp_path / "b" / "audio.onnx")).graph
    assert tensors(audio.input) == graph_tensors(graph.input)
    assert [f.name for f in audio.input] == list(fusion.INPUTS)
    assert list(audio.model_warmup) == []  # its recordings have no one length


def test_a_tagger_alone(tagger: Path, tmp_path: Path) -> None:
    configs = made(tmp_path / "o", tagger)
    assert list(configs) == ["tagger"]
    graph = onnx.load(str(tagger)).graph
    assert tensors(configs["tagger"].input) == graph_tensors(graph.input)
    assert tensors(configs["tagger"].output) == graph_tensors(graph.output)
    named = {f.name: f.label_filename for f in configs["tagger"].output if f.label_filename}
    assert named == {"scores": "labels.txt", "similarity": "labels.txt"}
    assert (tmp_path / "o/tagger/labels.txt").read_text() == "dog\nrain\nbell\n"
    assert (tmp_path / "o/tagger/1/model.onnx").read_bytes() == tagger.read_bytes()

    config = made(tmp_path / "p", tagger, "--form", "python", "--windows", "middle:1")["tagger"]
    assert tensors(config.output)["scores"] == ("TYPE_FP32", [3])
    assert tensors(config.input)["waveform"] == ("TYPE_FP32", [-1])
    assert (tmp_path / "p/tagger/1/tagger.onnx").read_bytes() == tagger.read_bytes()


def test_a_taggers_engine(tagger: Path, tmp_path: Path) -> None:
    engine = replace(
        tinyengines.engine("x", ("waveform",), tiny.WINDOW, tiny.WINDOW), file="street.onnx.engine"
    )
    with_engine(tagger, engine)
    config = made(tmp_path / "t", tagger)["tagger"]
    assert config.backend == "tensorrt"
    assert (tmp_path / "t/tagger/1/model.plan").read_bytes() == b"a plan"
    made(tmp_path / "p", tagger, "--form", "python", "--provider", "tensorrt")
    folder = tmp_path / "p" / "tagger" / "1"
    assert json.loads(engine_record(folder / "tagger.onnx").read_text())["sha256"]
    assert (folder / "street.onnx.engine").read_bytes() == b"a plan"


def with_engine(tagger: Path, engine: Engine) -> None:
    """What ``build`` leaves beside a tagger."""
    from runtime import schema

    plan = tagger.with_name(engine.file)
    plan.write_bytes(b"a plan")
    built = BuiltFrom(
        1, hashlib.sha256(tagger.read_bytes()).hexdigest(),
        hashlib.sha256(b"a plan").hexdigest(), len(b"a plan"), engine,
    )  # fmt: skip
    engine_record(tagger).write_text(json.dumps(schema.to_plain(built)), "utf-8")


def test_an_altered_file_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    for name in ("audio.onnx", "text.onnx", "tokenizer.json"):
        bundle = tmp_path / "b"
        shutil.copytree(tiny_bundle, bundle)
        data = bytearray((bundle / name).read_bytes())
        data[-1] ^= 1
        (bundle / name).write_bytes(data)
        assert "does not have the recorded SHA-256" in refused(tmp_path / "r", bundle)
        shutil.rmtree(bundle)


def test_one_sentence_for_what_cannot_be(tiny_bundle: Path, tagger: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    out = tmp_path / "r"
    assert "exists already" in refused(tmp_path / "there", tiny_bundle)
    assert "clap-export build" in refused(out, tiny_bundle, "--form", "tensorrt")
    assert "clap-export build" in refused(out, tiny_bundle, "--provider", "tensorrt")
    assert "no calibration" in refused(out, tiny_bundle, "--scores", "multilabel")
    assert "must hold" in refused(out, tiny_bundle, "--template", "no place")
    assert "windows='odd'" in refused(out, tiny_bundle, "--windows", "odd")
    assert "no bundle" in refused(out, tmp_path / "none")
    assert "listed twice" in refused(out, tiny_bundle, "--labels", "a,a")
    assert "freeze it anew" in refused(out, tagger, "--labels", "a,b")
    assert "--form python" in refused(out, tagger, "--windows", "all")
    other = LabelBank(("a",), (), np.eye(1, tiny.DIM, dtype=np.float32), "another")
    other.save(tmp_path / "other.npz")
    assert "embedding space another" in refused(
        out, tiny_bundle, "--labels", tmp_path / "other.npz"
    )
    rtx = tinyengines.build(tmp_path / "rtx", library="tensorrt_rtx")
    assert "TensorRT-RTX" in refused(out, rtx)


def test_a_part_of_a_bundle_knows_what_is_its_own(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="'other' is no file of it"):
        Bundle(tiny_bundle, only=["other"])
    write_manifest(tmp_path, read_manifest(tiny_bundle))
    part = Bundle(tmp_path, only=[])
    with pytest.raises(BundleError, match="does not exist"):
        part.read("audio.onnx")


@pytest.mark.parametrize("form", FORMS)
def test_the_page_says_how_to_start_and_call(tiny_bundle: Path, tmp_path: Path, form: str) -> None:
    made(tmp_path / "r", tiny_bundle, "--form", form)
    page = (tmp_path / "r" / "README.md").read_text("utf-8")
    assert "docker run --rm" in page
    assert "tiny-space" in page
    for name in ("waveform", "labels", "embedding", "scores"):
        assert f"`{name}`" in page
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    ast.parse(block)
    assert ("TF32" in page) == (form == "onnx")
