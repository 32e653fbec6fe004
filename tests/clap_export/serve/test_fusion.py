"""A model that hears long clips at once is served like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from clap_export.export.pack import write_bundle
from runtime import Classifier
from tests import tiny
from tests.clap_export.serve.running import running
from tests.tiny import bundle as tiny_bundle


@pytest.fixture(scope="module")
def fused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fused") / "bundle"
    write_bundle(tiny.checkpoint(audio=tiny.FUSION), folder)
    return folder


@pytest.mark.slow  # a model with feature fusion is exported for it
def test_long_and_short_clips_share_batches(fused: Path) -> None:
    sounds = [tiny_bundle.clip(i, n) for i, n in enumerate((900, tiny.WINDOW, 5 * tiny.WINDOW))]
    with (
        Classifier(fused, ["dog", "rain"], threads=1) as classifier,
        running(fused, labels=["dog", "rain"]) as server,
    ):
        rate = classifier.manifest.audio.sample_rate
        for samples in sounds:
            answer = server.post("/v1/classify", tiny_bundle.wav(samples, rate))
            assert answer.status_code == 200, answer.text
            wanted = {p.label: p.similarity for p in classifier.predict(samples, rate)}
            found = {p["label"]: p["similarity"] for p in answer.json()["predictions"]}
            assert found == pytest.approx(wanted, abs=1e-4)
        timeline = server.post(
            "/v1/classify", tiny_bundle.wav(sounds[2], rate), params={"timeline": "true"}
        ).json()["segments"]
        expected = classifier.timeline(sounds[2], rate)
        assert [s["start"] for s in timeline] == [s.start for s in expected]
