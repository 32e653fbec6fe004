"""bfloat16 on OpenVINO: the encoder alone is in it, and only where the CPU has it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clap_export.export.pack import write_bundle
from clap_export.parity.clips import awkward_clips
from clap_export.parity.inner import decibels_apart, with_output
from runtime import Encoder
from runtime.audio_graph import graph_inputs
from runtime.backends import no_bfloat16, open_backend
from runtime.bundle import Bundle
from runtime.manifest import LOG_MEL
from tests import tiny
from tests.places import ROOT

openvino = pytest.importorskip("openvino", reason="OpenVINO is optional")
OPENVINO = ("openvino",)
WITHOUT = no_bfloat16()
needs_bfloat16 = pytest.mark.skipif(bool(WITHOUT), reason=WITHOUT)


SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("htsat", "compact", tiny.FUSION)]


@pytest.fixture(scope="module", params=["cnn14", *SLOW])  # to export one takes some seconds
def bundle(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, exported_bundle: Path
) -> Bundle:
    if request.param == "cnn14":
        return Bundle(exported_bundle)
    folder = tmp_path_factory.mktemp("made") / "bundle"
    write_bundle(tiny.checkpoint(request.param), folder)
    return Bundle(folder)


def feeds(bundle: Bundle) -> list[dict[str, np.ndarray]]:
    """What the audio graph takes for a full-scale tone, silence, DC and the other made clips."""
    spec = bundle.manifest.audio
    with Encoder(bundle) as encoder:
        clips = [encoder.windows_of(c.samples, c.sample_rate) for c in awkward_clips(spec)]
    return [graph_inputs(clip, spec) for clip in clips]


def graph(bundle: Bundle) -> bytes:
    return with_output(bundle.graph(bundle.manifest.audio_graph)[0].data, LOG_MEL)


@needs_bfloat16
def test_the_encoder_is_in_bfloat16_and_the_frontend_is_exact(bundle: Bundle) -> None:
    exact = open_backend(graph(bundle))  # ONNX Runtime, in FP32
    half = open_backend(graph(bundle), OPENVINO, bfloat16=True)
    assert half.bfloat16
    assert not exact.bfloat16
    assert (half.input_names, half.output_names) == (exact.input_names, exact.output_names)
    apart, moved = [], []
    for feed in feeds(bundle):
        want, got = exact.run(feed), half.run(feed)
        apart.append(decibels_apart(got[LOG_MEL], want[LOG_MEL]))
        cosine = (got["embedding"].astype(float) * want["embedding"]).sum(axis=1)
        moved.append(1 - cosine.min())
        # The norm is in FP32 as well: bfloat16 would leave it off by up to 4e-3.
        assert np.linalg.norm(got["embedding"], axis=1) == pytest.approx(1, abs=1e-5)
    assert max(apart) < 0.05
    assert 1e-7 < max(moved) < 0.01  # of random weights


@needs_bfloat16
def test_told_for_the_whole_model_openvino_spoils_the_spectrogram(bundle: Bundle) -> None:
    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "bf16"}
    whole = core.compile_model(core.read_model(graph(bundle)), "CPU", settings)
    exact = open_backend(graph(bundle))
    apart = [
        decibels_apart(whole(feed)[LOG_MEL], exact.run(feed)[LOG_MEL]) for feed in feeds(bundle)
    ]
    assert max(apart) > 1  # which is what the gate of an export is for


@needs_bfloat16
def test_results_are_the_same_again_and_in_a_batch(exported_bundle: Path) -> None:
    backend = open_backend(exported_bundle / "audio.onnx", OPENVINO, bfloat16=True)
    rows = tiny.waveforms(3, tiny.WINDOW, seed=1).numpy()
    together = backend.run({"waveform": rows})["embedding"]
    kept = together.copy()
    alone = [backend.run({"waveform": row[np.newaxis]})["embedding"][0] for row in rows]
    assert np.array_equal(together, kept)  # the next runs have buffers of their own
    assert np.abs(together - np.stack(alone)).max() < 0.01
    assert np.array_equal(backend.run({"waveform": rows})["embedding"], kept)


@needs_bfloat16
def test_a_text_graph_is_one_model(exported_bundle: Path) -> None:
    found = {}
    for half in (False, True):
        backend = open_backend(exported_bundle / "text.onnx", OPENVINO, bfloat16=half)
        assert backend.bfloat16 == half
        ids = np.array([[2, 5, 6, 3]])
        feed = {name: ids if name == "input_ids" else np.ones_like(ids)
                for name in backend.input_names}  # fmt: skip
        found[half] = backend.run(feed)["embedding"].astype(float)
    assert 1e-9 < 1 - (found[True] * found[False]).sum() < 1e-2


def test_a_cpu_without_bfloat16_computes_in_fp32_and_says_so(exported_bundle: Path) -> None:
    code = f"""
import numpy as np
from pathlib import Path
from runtime.backends import no_bfloat16, open_backend
path = Path({str(exported_bundle / "audio.onnx")!r})
rows = np.random.default_rng(0).uniform(-1, 1, (2, {tiny.WINDOW})).astype(np.float32)
half = open_backend(path, ("openvino",), 1, bfloat16=True)
exact = open_backend(path, ("cpu",), 1)
found, wanted = (one.run({{"waveform": rows}})["embedding"] for one in (half, exact))
print(half.bfloat16, np.abs(found - wanted).max() < 1e-5, no_bfloat16())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT,
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    )  # fmt: skip
    assert done.stdout.split(maxsplit=2)[:2] == ["False", "True"]
    assert "which has no bfloat16" in done.stdout
