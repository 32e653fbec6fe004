"""``--target trt`` and ``build``: on a fake GPU all the way; ahead of time with TensorRT-RTX."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from runtime import Classifier, Encoder, Tagger
from runtime.backends.cuda import driver
from runtime.backends.trt.dialect import Dialect
from runtime.bundle import Bundle
from runtime.errors import BackendError, BundleError
from runtime.manifest import read_manifest
from tests import tiny
from tests.clap_export.cli.test_cli import call, refused
from tests.fakes import tensorrt_builder as fakebuild
from tests.fakes.cuda import FakeCuda
from tests.fakes.tensorrt_builder import machine
from tests.places import ROOT
from tests.test_layers import HEAVY, run_without
from tests.tiny import bundle as tinybundle

AHEAD = ("--compute-capability", "8.9")


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("ckpt") / "model.safetensors")


@pytest.mark.parametrize("version", ["8.6.1", "10.16.1.11", "11.4.0.106"])
def test_target_trt_builds_and_measures_engines_that_the_runtime_runs(
    ckpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    module = machine(monkeypatch, version)
    out = tmp_path / "out"
    result = call("--ckpt", ckpt, "--target", "trt", "--out", out, "--max-batch", 8)
    assert result.exit_code == 0, result.output
    manifest = read_manifest(out)
    assert manifest.engines is not None
    for engine in (manifest.engines.audio, manifest.engines.text):
        assert (engine.library, engine.version) == ("tensorrt", version)
        assert (engine.compute_capabilities, engine.device) == (("9.0",), "Fake GPU")
        assert engine.precision == "fp16"
        assert engine.layers["HALF"] > 0
        assert engine.max_batch == 8
    assert manifest.audio_graph.precision == "fp16"
    assert manifest.parity is not None
    assert manifest.parity.passed
    assert manifest.parity.provider == "tensorrt"
    with Encoder(out) as gpu, Encoder(out, providers=("cpu",)) as cpu:
        found = gpu.embed_text(["a dog", "rain on a roof"])
        assert abs(found - cpu.embed_text(["a dog", "rain on a roof"])).max() < 1e-3
    cache = tmp_path / "out.timing-cache"
    assert cache.read_bytes() == b"timings"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "out.timing-cache"]
    for config in module.configs:
        assert fakebuild.Flag.TF32 not in config.flags
        assert (fakebuild.Flag.FP16 in config.flags) == version.startswith("8.")
        assert len(config.profiles) == 2
        assert config.previews == ({"sharing": True} if version.startswith("8.") else {})


def test_a_builder_that_ignores_fp16_fails_the_export(
    ckpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, "8.6.1", half=False)
    line = refused("--ckpt", ckpt, "--target", "trt", "--out", tmp_path / "out")
    assert "not in FP16" in line
    assert not (tmp_path / "out").exists()


def test_build_replaces_engines_and_uses_the_timings_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = machine(monkeypatch)
    folder = tinybundle.build(tmp_path / "bundle")
    for most in (4, 2):
        result = call(
            "build", folder, "--max-batch", most, "--workspace", 64, "--opt-level", 0, "--tf32",
            "--version-compatible", "--hardware-compatibility", "ampere_plus",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert "compute capability 9.0" in result.output
        manifest = Bundle(folder).manifest
        assert manifest.engines is not None
        assert manifest.engines.audio.max_batch == most
        assert manifest.engines.audio.precision == "fp32"  # as the graph is
        assert manifest.engines.audio.hardware == "ampere_plus"
        assert {p.name for p in folder.iterdir()} == {*manifest.files, "manifest.json"}
    config = module.configs[-1]
    assert config.cache == b"timings"
    assert config.pools == {"workspace": 64 << 20}
    assert config.builder_optimization_level == 0
    assert {fakebuild.Flag.TF32, fakebuild.Flag.VERSION_COMPATIBLE} <= config.flags
    (tmp_path / "bundle.timing-cache").write_bytes(b"of another GPU")
    assert call("build", folder).exit_code == 0
    assert module.configs[-1].cache == b"timings"  # begun anew, then used for the text engine


def test_the_engine_is_built_from_the_bytes_that_were_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = machine(monkeypatch)
    folder = tinybundle.build(tmp_path / "bundle")
    graphs = {name: (folder / name).read_bytes() for name in ("audio.onnx", "text.onnx")}

    class Exchanged(module.OnnxParser):
        """Somebody puts other files there when the hashes have just been compared."""

        def __init__(self, network: object, log: object) -> None:
            for name in graphs:
                (folder / name).write_bytes(b"another graph")
            super().__init__(network, log)

        def parse(self, data: bytes) -> bool:
            taken.append(data)
            for name, content in graphs.items():
                (folder / name).write_bytes(content)
            return super().parse(data)

    taken: list[bytes] = []
    module.OnnxParser = Exchanged
    assert call("build", folder).exit_code == 0
    assert taken == list(graphs.values())


def test_a_build_that_fails_leaves_the_bundle_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = machine(monkeypatch)
    folder = tinybundle.build(tmp_path / "bundle")
    assert call("build", folder).exit_code == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    parse = module.OnnxParser.parse
    monkeypatch.setattr(  # the audio engine is there by then, of other profiles than before
        module.OnnxParser,
        "parse",
        lambda self, data: b"input_ids" not in data and parse(self, data),
    )
    assert "cannot parse 'text.onnx'" in refused("build", folder, "--max-batch", 2)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_a_killed_build_left_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch)
    folder = tinybundle.build(tmp_path / "bundle")
    (folder / "audio-0123456789ab.engine").write_bytes(b"of a build that was killed")
    assert call("build", folder).exit_code == 0
    assert {p.name for p in folder.iterdir()} == {*Bundle(folder).manifest.files, "manifest.json"}


def test_without_a_gpu_nothing_is_begun_and_the_ways_out_are_named(
    ckpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "import_module", lambda name: FakeCuda(devices=0))
    driver.bindings.cache_clear()
    for arguments in (
        ("--ckpt", ckpt, "--target", "trt", "--out", tmp_path / "out"),
        ("build", "x"),
    ):
        line = refused(*arguments)
        assert "no NVIDIA GPU" in line
        assert "--target onnx" in line
        assert "--compute-capability" in line
    driver.bindings.cache_clear()
    assert list(tmp_path.iterdir()) == []


def test_with_a_gpu_but_no_tensorrt_the_install_command_is_named(
    ckpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "bindings", lambda: driver.started(FakeCuda()))
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    line = refused("build", "x", "--library", "tensorrt")
    assert "pip install tensorrt" in line


def test_options_that_do_not_go_together_are_refused(ckpt: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    assert "--max-batch" in refused("--ckpt", ckpt, *out, "--max-batch", 3)
    trt_ = ("--ckpt", ckpt, "--target", "trt", *out)
    assert "at most the largest" in refused(*trt_, "--max-batch", 4, "--opt-batch", 9)
    assert "like 8.9" in refused(*trt_, "--compute-capability", "sm_89")
    assert "leave" in refused(*trt_, *AHEAD, "--library", "tensorrt")
    assert "INT8" in refused(*trt_, "--precision", "int8", "--calibrate", ROOT / "tests")
    assert "--opt-level" in refused("--ckpt", ckpt, *out, "--opt-level", 0)
    assert list(tmp_path.iterdir()) == []


def test_ahead_of_time_with_tensorrt_rtx_a_machine_without_a_gpu_makes_the_bundle(
    ckpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tensorrt_rtx: Dialect
) -> None:
    out = tmp_path / "out"
    result = call("--ckpt", ckpt, "--target", "trt", "--out", out, *AHEAD)
    assert result.exit_code == 0, result.output
    manifest = Bundle(out).manifest
    assert manifest.engines is not None
    audio = manifest.engines.audio
    assert (audio.library, audio.version) == ("tensorrt_rtx", tensorrt_rtx.version)
    assert (audio.compute_capabilities, audio.device) == (("8.9",), "")
    assert audio.precision == "fp16"
    assert audio.layers["HALF"] > 0
    assert manifest.files[audio.file].bytes > 10_000
    # Its graphs run anywhere; its engines say for which GPU they are.
    assert Encoder(out, providers=("cpu",)).embed_text("a dog").shape == (1, manifest.embedding_dim)
    monkeypatch.setattr(driver, "bindings", lambda: driver.started(FakeCuda()))
    with pytest.raises(BackendError, match=r"capability 8\.9, and this one has 9\.0"):
        Encoder(out).open_audio()


def test_build_needs_neither_torch_nor_onnx(tmp_path: Path, tensorrt_rtx: Dialect) -> None:
    folder = tinybundle.build(tmp_path / "bundle")
    arguments = ["build", str(folder), *AHEAD, "--max-batch", "2"]
    code = f"from clap_export.cli import main\nmain({arguments!r}, prog_name='clap-export')"
    done = run_without(HEAVY, code)
    assert done.returncode == 0, done.stderr
    assert "not measured" in done.stdout
    assert Bundle(folder).manifest.engines is not None


def test_a_gpu_that_the_library_does_not_know_is_refused(
    tmp_path: Path, tensorrt_rtx: Dialect
) -> None:
    folder = tinybundle.build(tmp_path / "bundle")
    before = sorted(p.name for p in folder.iterdir())
    assert "it knows" in refused("build", folder, "--compute-capability", "5.0")
    assert sorted(p.name for p in folder.iterdir()) == before


def test_json_is_the_manifest(tmp_path: Path, tensorrt_rtx: Dialect) -> None:
    folder = tinybundle.build(tmp_path / "bundle")
    command = [sys.executable, "-m", "clap_export", "build", str(folder), *AHEAD, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert json.loads(done.stdout)["engines"]["text"]["library"] == "tensorrt_rtx"


def test_the_engine_of_a_tagger_lies_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tensorrt_rtx: Dialect
) -> None:
    folder = tinybundle.build(tmp_path / "bundle")
    path, bank = tmp_path / "t.onnx", tmp_path / "b.npz"
    assert call("freeze", folder, "dog,rain", "-o", path, "--top-k", 2).exit_code == 0
    result = call("build", path, *AHEAD, "--max-batch", 2)
    assert result.exit_code == 0, result.output
    assert "t.onnx.engine: fp32, tensorrt_rtx" in result.stdout
    clip = tinybundle.clip(0)
    with Classifier(folder, ["dog", "rain"]) as classifier, Tagger(path, providers="cpu") as tagger:
        assert tagger.predict(clip, tinybundle.RATE) == classifier.predict(clip, tinybundle.RATE)
        classifier.bank.save(bank)
    monkeypatch.setattr(driver, "bindings", lambda: driver.started(FakeCuda()))
    with pytest.raises(BackendError, match=r"capability 8\.9, and this one has 9\.0"):
        Tagger(path)
    engine = tmp_path / "t.onnx.engine"
    engine.write_bytes(engine.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match="not the engine that was built"):
        Tagger(path)
    assert call("freeze", "--relabel", path, bank, "-o", path, "--overwrite").exit_code == 0
    Tagger(path, providers="cpu").close()
    assert call("freeze", folder, "dog,sea", "-o", path, "--overwrite").exit_code == 0
    with pytest.raises(BundleError, match="another tagger"):
        Tagger(path)
    assert "no tagger" in refused("build", folder / "audio.onnx", *AHEAD)
