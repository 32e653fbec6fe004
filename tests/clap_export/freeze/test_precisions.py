"""Taggers of real encoders, in every precision: the graph alone gives what the runtime gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from clap_export.freeze.graph import freeze
from clap_export.precision.lower import to_fp16, to_int8
from runtime import Bundle, Classifier, Encoder, Tagger
from tests import tiny

LABELS = ["dog", "rain", "bell", "siren", "wind"]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    paths = [folder / f"{i}.wav" for i in range(12)]
    for i, path in enumerate(paths):
        soundfile.write(path, tiny.waveforms(1, seed=i)[0].numpy(), tiny.RATE)
    return paths


@pytest.mark.parametrize(
    "precision",
    ["fp32", *(pytest.param(p, marks=pytest.mark.slow) for p in ("fp16", "int8"))],
)  # lowering measures for some ten seconds
def test_scores_are_those_of_the_runtime(
    tmp_path: Path, exported_bundle: Path, recordings: list[Path], precision: str
) -> None:
    ort = pytest.importorskip("onnxruntime")
    folder = exported_bundle
    if precision != "fp32":
        lower = to_fp16 if precision == "fp16" else to_int8
        folder = tmp_path / precision
        lower(exported_bundle, folder, recordings)
    bundle = Bundle(folder)
    assert bundle.manifest.audio_graph.precision == precision
    path = tmp_path / "tagger.onnx"
    with Classifier(folder, LABELS) as classifier:
        path.write_bytes(freeze(bundle, classifier.bank, "softmax", 2).SerializeToString())
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        with Encoder(folder) as encoder:
            clip = encoder.windows_of(recordings[0])
        found = session.run(["scores"], {"waveform": clip})[0][0]
        wanted = {p.label: p.score for p in classifier.predict(recordings[0])}
        np.testing.assert_allclose(found, [wanted[name] for name in LABELS], atol=1e-6)
        with Tagger(path) as tagger:
            assert [p.label for p in tagger.predict(recordings[0])] == list(wanted)[:2]
            for p in tagger.predict(recordings[0], top_k=5):
                assert p.score == pytest.approx(wanted[p.label], abs=1e-6)
