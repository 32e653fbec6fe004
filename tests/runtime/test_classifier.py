"""Predictions against the slow twins, and what a classifier takes and refuses."""

from __future__ import annotations

import io
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import Classifier, Encoder, LabelBank, Prediction
from runtime.errors import AudioError, BackendError, BundleError, ClapError, LabelError
from runtime.manifest import Calibration
from tests.tiny import bundle as tinybundle
from tests.tiny.bundle import LABELS as NAMES
from tests.tiny.bundle import RATE, WINDOW, clip, slow_cosines, wav


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> Classifier:
    return Classifier(tiny_bundle, NAMES, threads=1)


@pytest.fixture
def bank(classifier: Classifier) -> LabelBank:
    return classifier.bank


# Scores


def test_softmax_of_the_scaled_cosines(classifier: Classifier) -> None:
    samples = clip(1)
    predictions = classifier.predict(samples, RATE)
    cosines = slow_cosines(samples)
    total = sum(math.exp(10.0 * c) for c in cosines.values())  # 10: the manifest's logit_scale
    assert sorted(p.label for p in predictions) == sorted(NAMES)
    for p in predictions:
        assert p.similarity == pytest.approx(cosines[p.label], abs=1e-5)
        assert p.score == pytest.approx(math.exp(10.0 * cosines[p.label]) / total, abs=1e-4)
    assert sum(p.score for p in predictions) == pytest.approx(1, abs=1e-12)
    assert [p.score for p in predictions] == sorted((p.score for p in predictions), reverse=True)


def test_cosine_scores_are_the_similarities(tiny_bundle: Path) -> None:
    predictions = Classifier(tiny_bundle, NAMES, scores="cosine").predict(clip(2), RATE)
    assert all(p.score == p.similarity for p in predictions)
    assert predictions[0].similarity == max(p.similarity for p in predictions)


def test_multilabel_uses_the_calibration(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ClapError, match=r"no calibration.*scores='cosine' with a threshold"):
        Classifier(tiny_bundle, NAMES, scores="multilabel")
    folder = tinybundle.build(tmp_path / "b", calibration=Calibration(8.0, -3.0))
    samples = clip(3)
    cosines = slow_cosines(samples)
    for p in Classifier(folder, NAMES, scores="multilabel").predict(samples, RATE):
        expected = 1 / (1 + math.exp(-(8.0 * cosines[p.label] - 3.0)))
        assert p.score == pytest.approx(expected, abs=1e-4)


def test_none_of_these(tiny_bundle: Path) -> None:
    samples = clip(4)
    best = max(slow_cosines(samples).values())
    above = Classifier(tiny_bundle, NAMES, min_similarity=best + 0.01)
    assert above.predict(samples, RATE) == []
    below = Classifier(tiny_bundle, NAMES, min_similarity=best - 0.001)
    assert [p.similarity for p in below.predict(samples, RATE)] == [pytest.approx(best, abs=1e-5)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scores": "sum"}, "scores='sum'"),
        ({"threshold": float("nan")}, "threshold=nan"),
        ({"min_similarity": float("inf")}, "min_similarity=inf"),
        ({"top_k": 0}, "top_k=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"max_seconds": -1.0}, "max_seconds"),
    ],
)
def test_arguments_out_of_range(tiny_bundle: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ClapError, match=message):
        Classifier(tiny_bundle, NAMES, **arguments)


# Labels and bundles


def test_all_forms_of_labels_give_the_same(
    classifier: Classifier, tiny_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "labels.txt").write_text("\n".join(NAMES))
    classifier.bank.save(tmp_path / "bank.npz")
    samples = clip(5)
    expected = classifier.predict(samples, RATE)
    for labels in (
        tuple(NAMES),
        {name: f"this is a sound of {name}" for name in NAMES},
        tmp_path / "labels.txt",
        str(tmp_path / "labels.txt"),
        tmp_path / "bank.npz",
        str(tmp_path / "bank.npz"),
        classifier.bank,
    ):
        other = Classifier(tiny_bundle, labels, threads=1)
        assert other.labels == tuple(NAMES)
        assert other.predict(samples, RATE) == expected


def test_a_bank_needs_no_text_encoder(tmp_path: Path, bank: LabelBank) -> None:
    folder = tinybundle.build(tmp_path / "b")
    size = (folder / "text.onnx").stat().st_size
    (folder / "text.onnx").write_bytes(bytes(size))
    assert Classifier(folder, bank, check_hashes=False).predict(clip(0), RATE)
    with pytest.raises(BundleError, match=r"text\.onnx"):
        Classifier(folder, NAMES, check_hashes=False)


def test_a_bank_of_another_space_is_refused(tmp_path: Path, bank: LabelBank) -> None:
    folder = tinybundle.build(tmp_path / "b", space_id="sea-space")
    with pytest.raises(BundleError, match="tiny-space, the bundle to sea-space"):
        Classifier(folder, bank)


def test_a_bank_of_another_width_is_refused(tiny_bundle: Path) -> None:
    bank = LabelBank(("a",), (), np.ones((1, 1), np.float32), "tiny-space")
    with pytest.raises(LabelError, match="1 dimensions, the bundle 8"):
        Classifier(tiny_bundle, bank)


def test_templates(tiny_bundle: Path, bank: LabelBank) -> None:
    made = Classifier(tiny_bundle, ["dog"], templates=["the {}", "a {}"])
    assert made.bank.templates == ("the {}", "a {}")
    with pytest.raises(LabelError, match="do not apply"):
        Classifier(tiny_bundle, bank, templates="the {}")


def test_an_encoder_may_be_shared(tiny_bundle: Path, classifier: Classifier) -> None:
    with Encoder(tiny_bundle, threads=1) as encoder:
        first, second = Classifier(encoder, NAMES), Classifier(encoder, ["dog"])
        assert first.encoder is second.encoder is encoder
        assert first.predict(clip(0), RATE) == classifier.predict(clip(0), RATE)


def test_a_missing_device_shows_at_once(
    tiny_bundle: Path, bank: LabelBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    cpu_only = ["CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: cpu_only)
    with pytest.raises(BackendError, match="onnxruntime-gpu"):
        Classifier(tiny_bundle, bank, providers=("cuda", "cpu"))


# One recording


def test_every_form_of_a_source(classifier: Classifier, tmp_path: Path) -> None:
    samples = clip(6)
    expected = classifier.predict(samples, RATE)
    path = tmp_path / "clip.wav"
    path.write_bytes(wav(samples))
    for source in (path, str(path), wav(samples), io.BytesIO(wav(samples))):
        assert classifier.predict(source) == expected
    assert classifier.predict(np.stack([samples, samples]), RATE) == expected
    assert classifier.predict(samples, RATE, top_k=2) == expected[:2]


def test_predict_takes_one_recording(classifier: Classifier) -> None:
    with pytest.raises(AudioError, match="list is no recording"):
        classifier.predict([clip(0), clip(1)], RATE)
    with pytest.raises(ClapError, match="top_k=0"):
        classifier.predict(clip(0), RATE, top_k=0)


def test_threads_may_share_it(classifier: Classifier) -> None:
    clips = [clip(i, 5000 + 3000 * i) for i in range(6)]
    expected = [classifier.predict(c, RATE) for c in clips]
    found: dict[int, list[list[Prediction]]] = {}

    def work(worker: int) -> None:
        found[worker] = [classifier.predict(c, RATE) for c in clips]

    workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [found[i] for i in range(8)] == [expected] * 8


# Timelines


def test_timeline_is_the_prediction_of_each_window(classifier: Classifier) -> None:
    samples = clip(7, 2 * WINDOW + 1600)
    segments = classifier.timeline(samples, RATE)
    assert [(s.start, s.end) for s in segments] == [(0.0, 0.5), (0.5, 1.0), (0.6, 1.1)]
    for segment in segments:
        start = round(segment.start * RATE)
        cosines = slow_cosines(samples[start : start + WINDOW])
        assert [p.label for p in segment.predictions] == sorted(
            cosines, key=cosines.__getitem__, reverse=True
        )
        for p in segment.predictions:
            assert p.similarity == pytest.approx(cosines[p.label], abs=1e-5)


def test_timeline_hop_and_top_k(classifier: Classifier) -> None:
    segments = classifier.timeline(clip(8, 2 * WINDOW), RATE, hop=0.02, top_k=1)
    assert [s.start for s in segments] == pytest.approx([0.02 * i for i in range(26)])
    assert all(len(s.predictions) == 1 for s in segments)


def test_timeline_ends_with_the_recording(classifier: Classifier) -> None:
    (segment,) = classifier.timeline(clip(9, 4000), RATE)
    assert (segment.start, segment.end) == (0.0, 0.25)
    seconds = 1.2345
    segments = classifier.timeline(clip(9, round(44_100 * seconds)), 44_100)
    assert segments[-1].end == pytest.approx(seconds, abs=1 / RATE)


@pytest.mark.parametrize("hop", [0, -1.0, float("nan"), float("inf"), 1e-6])
def test_timeline_hop_that_is_none(classifier: Classifier, hop: float) -> None:
    with pytest.raises(ClapError, match="hop="):
        classifier.timeline(clip(0), RATE, hop=hop)


def test_close_releases_and_reopens(tiny_bundle: Path) -> None:
    with Classifier(tiny_bundle, NAMES, threads=1) as made:
        expected = made.predict(clip(0), RATE)
    assert made.predict(clip(0), RATE) == expected
