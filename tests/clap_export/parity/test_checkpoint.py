"""Verification passes what is equal, and fails what was changed, without touching the graphs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from clap_export.checkpoints import Checkpoint
from clap_export.export.pack import write_bundle
from clap_export.parity.checkpoint import BATCHES, LIMITS, verify
from clap_export.parity.clips import awkward_clips
from runtime import ClapError, schema
from runtime.bundle import Bundle, sha256_file
from runtime.manifest import FileEntry, read_manifest, write_manifest
from tests import tiny

CHECKPOINT = tiny.checkpoint()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify") / "bundle"
    write_bundle(CHECKPOINT, folder)
    return folder


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported, tmp_path / "copy")


def tamper(folder: Path, name: str, initializer: str, scale: float) -> None:
    """Scale a weight inside a graph, and make the manifest agree with the new file."""
    graph = onnx.load(folder / name)
    (found,) = [i for i in graph.graph.initializer if i.name == initializer]
    changed = (numpy_helper.to_array(found) * scale).astype(np.float32)
    found.CopyFrom(numpy_helper.from_array(changed, initializer))
    save(folder, name, graph)


def save(folder: Path, name: str, graph: onnx.ModelProto) -> None:
    """Write a graph into a bundle whose manifest agrees with it."""
    (folder / name).write_bytes(graph.SerializeToString())
    entry = FileEntry(sha256_file(folder / name), (folder / name).stat().st_size)
    manifest = read_manifest(folder)
    write_manifest(folder, replace(manifest, files={**manifest.files, name: entry}))


def largest_weight(folder: Path, name: str) -> str:
    graph = onnx.load(folder / name)
    floats = [i for i in graph.graph.initializer if i.data_type == onnx.TensorProto.FLOAT]
    return max(floats, key=lambda i: int(np.prod(i.dims))).name


def test_an_honest_bundle_passes_and_the_manifest_says_so(copy: Path) -> None:
    assert read_manifest(copy).parity is None
    parity = verify(copy, CHECKPOINT)
    assert parity.passed
    assert {check.name for check in parity.checks} == set(LIMITS["fp32"])
    assert all(check.value <= check.limit for check in parity.checks)
    assert read_manifest(copy).parity == parity
    Bundle(copy)  # hashes still fit


def test_another_weight_in_the_audio_graph_fails(copy: Path) -> None:
    tamper(copy, "audio.onnx", largest_weight(copy, "audio.onnx"), 1.05)
    parity = verify(copy, CHECKPOINT)
    failed = {check.name for check in parity.checks if not check.passed}
    assert not parity.passed
    assert any(name.startswith("audio embedding") or "log-mel" in name for name in failed)
    assert not any(name.startswith("text") for name in failed)
    assert read_manifest(copy).parity == parity
    assert (copy / "audio.onnx").is_file()


def test_another_weight_in_the_text_graph_fails(copy: Path) -> None:
    tamper(copy, "text.onnx", largest_weight(copy, "text.onnx"), 1.5)
    failed = {check.name for check in verify(copy, CHECKPOINT).checks if not check.passed}
    assert "text embedding, 1 - cosine" in failed
    assert not any(name.startswith(("audio", "log-mel")) for name in failed)


def test_norms_of_another_scale_fail_alone(copy: Path) -> None:
    graph = onnx.load(copy / "audio.onnx")
    (maker,) = (node for node in graph.graph.node if "norm" in node.output)
    maker.output[0] = "norm_exact"
    graph.graph.initializer.append(numpy_helper.from_array(np.float32([1.01]), "factor"))
    graph.graph.node.append(helper.make_node("Mul", ["norm_exact", "factor"], ["norm"]))
    save(copy, "audio.onnx", graph)
    parity = verify(copy, CHECKPOINT)
    assert [c.name for c in parity.checks if not c.passed] == ["audio norm, relative"]
    (found,) = (c.value for c in parity.checks if c.name == "audio norm, relative")
    assert found == pytest.approx(0.01, rel=1e-2)


def test_the_value_is_the_tolerance_it_would_have_needed(copy: Path) -> None:
    """With the limits set to the measured values every gate would pass."""
    tamper(copy, "audio.onnx", largest_weight(copy, "audio.onnx"), 1.05)
    checks = {check.name: check for check in verify(copy, CHECKPOINT).checks}
    worst = checks["audio embedding, max abs"]
    assert worst.value > worst.limit > 0


def test_a_checkpoint_of_another_space_is_refused(copy: Path) -> None:
    before = (copy / "manifest.json").read_text()
    with pytest.raises(ClapError, match="exported from other weights"):
        verify(copy, tiny.checkpoint(seed=5))
    assert (copy / "manifest.json").read_text() == before


def test_own_recordings_are_compared_as_well(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ClapError, match=r"missing\.wav"):
        verify(copy, CHECKPOINT, [tmp_path / "missing.wav"])
    samples = np.random.default_rng(1).uniform(-0.4, 0.4, 12_000).astype(np.float32)
    assert verify(copy, CHECKPOINT, [tiny.write_wav(tmp_path / "own.wav", samples)]).passed


def test_parity_survives_the_manifest(copy: Path) -> None:
    verify(copy, CHECKPOINT)
    plain = json.loads((copy / "manifest.json").read_text())
    assert schema.to_plain(read_manifest(copy)) == plain


def test_the_clips_are_those_at_which_implementations_fail() -> None:
    spec = CHECKPOINT.model.config.audio
    clips = {clip.name: clip for clip in awkward_clips(spec)}
    seconds = {name: c.samples.shape[-1] / c.sample_rate for name, c in clips.items()}
    window = spec.window_samples / spec.sample_rate
    assert not clips["silence"].samples.any()
    assert not clips["zero tail"].samples[spec.sample_rate // 2 :].any()
    assert clips["zero tail"].samples[:100].any()
    assert np.abs(clips["full-scale sine"].samples).max() > 0.999
    assert abs(clips["DC"].samples.mean() - 0.5) < 1e-3
    assert clips["DC"].samples.std() < 1e-2
    assert set(np.unique(clips["clipped square"].samples)) == {-1.0, 1.0}
    assert clips["one sample"].samples.shape == (1,)
    assert seconds["0.3 s"] == pytest.approx(0.3)
    assert seconds["one window"] == window
    assert seconds["3.7 windows"] == pytest.approx(3.7 * window)
    assert clips["stereo"].samples.shape[0] == 2
    rates = {c.sample_rate for c in clips.values()}
    assert rates >= {8000, 16000, 22050, 44100, 48000, 96000}
    assert BATCHES == (1, 2, 5)


def test_clips_are_the_same_each_time() -> None:
    spec = CHECKPOINT.model.config.audio
    for one, two in zip(awkward_clips(spec), awkward_clips(spec), strict=True):
        assert np.array_equal(one.samples, two.samples)


def test_checkpoint_is_not_changed_by_export(exported: Path) -> None:
    fresh: Checkpoint = tiny.checkpoint()
    assert CHECKPOINT.space_id() == fresh.space_id() == read_manifest(exported).space_id
    assert CHECKPOINT.model.mel.two_stage is None
