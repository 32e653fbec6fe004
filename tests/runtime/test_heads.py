"""A head is used wherever a label bank is, with its own scores, and refused where it is damaged."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from clap_export.freeze.graph import freeze, relabel
from runtime import Bundle, ClapError, Classifier, Encoder, LabelBank, Tagger
from runtime.errors import BundleError, LabelError
from runtime.head import Head, digest
from runtime.tagger_file import TaggerFile
from tests.tiny import bundle as tiny
from tests.tiny import heads

MODES = pytest.mark.parametrize("scores", ["softmax", "multilabel"])


def probabilities(logits: np.ndarray, scores: str) -> np.ndarray:
    powers = np.exp(logits)
    return powers / powers.sum() if scores == "softmax" else powers / (1 + powers)


@MODES
def test_scores_are_those_of_its_scales_and_biases(
    scores: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    heads.head(scores).save(tmp_path / "head.npz")
    with Classifier(tiny_bundle, str(tmp_path / "head.npz")) as classifier:
        assert classifier.scores == scores
        for seed in range(5):
            wanted = heads.logits(classifier.bank, tiny.slow_audio_embedding(tiny.clip(seed)))
            order = np.argsort(-wanted)
            found = classifier.predict(tiny.clip(seed), tiny.RATE)
            assert [p.label for p in found] == [heads.NAMES[i] for i in order]
            wanted = probabilities(wanted, scores)[order]
            assert np.abs([p.score for p in found] - wanted).max() < 1e-5
        (only,) = classifier.predict(tiny.clip(0), tiny.RATE, top_k=1)
        assert only == classifier.predict(tiny.clip(0), tiny.RATE)[0]


def test_saturated_scores_are_in_the_order_of_logits(tiny_bundle: Path) -> None:
    bank = heads.head("multilabel")
    scales = np.full(3, 1e4, np.float32)
    biases = np.array([2e4, 6e4, 4e4], np.float32)
    said = replace(bank.head.about, sha256=digest(bank.embeddings, scales, biases))
    bank = LabelBank(
        bank.names, (), bank.embeddings, bank.space_id, head=Head(scales, biases, said)
    )
    with Classifier(tiny_bundle, bank) as classifier:
        found = classifier.predict(tiny.clip(1), tiny.RATE)
        assert [p.score for p in found] == [1.0] * 3
        assert [p.label for p in found] == ["hum", "knock", "whirr"]


@pytest.mark.parametrize("mmap", [False, True])
def test_round_trip(mmap: bool, tmp_path: Path) -> None:
    bank = heads.head()
    bank.save(tmp_path / "head.npz")
    loaded = LabelBank.load(tmp_path / "head.npz", mmap=mmap)
    for again in (loaded, pickle.loads(pickle.dumps(loaded))):
        assert again.names == bank.names
        assert np.array_equal(again.embeddings, bank.embeddings)
        assert np.array_equal(again.head.scales, heads.SCALES)
        assert np.array_equal(again.head.biases, heads.BIASES)
        assert again.head.about == bank.head.about


def arrays(path: Path) -> dict[str, Any]:
    with np.load(path) as found:
        return dict(found)


def changed_meta(found: dict[str, Any], **changes: Any) -> dict[str, Any]:
    meta = json.loads(found["meta"].tobytes())
    meta |= changes
    return {**found, "meta": np.frombuffer(json.dumps(meta).encode(), np.uint8)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: {**a, "scales": a["scales"] * 1.5}, "recorded SHA-256"),
        (lambda a: {**a, "biases": a["biases"] + np.float32(1e-3)}, "recorded SHA-256"),
        (lambda a: {**a, "embeddings": a["embeddings"][::-1]}, "recorded SHA-256"),
        (lambda a: {**a, "scales": -a["scales"]}, "scales are below 0"),
        (lambda a: {**a, "scales": a["scales"][:2]}, r"scales are float32 \(2,\)"),
        (lambda a: {**a, "biases": a["biases"] * np.nan}, "biases hold NaN"),
        (lambda a: {**a, "biases": a["biases"].astype(float)}, "biases are float64, not float32"),
        (lambda a: {k: v for k, v in a.items() if k != "scales"}, "missing array 'scales'"),
        (lambda a: {k: v for k, v in a.items() if k not in ("scales", "biases")}, "'format' is"),
        (lambda a: changed_meta(a, format="clap-export-labels"), "'format' is"),
        (lambda a: changed_meta(a, more=1), "unknown key 'more'"),
        (lambda a: {**a, "more": np.zeros(1)}, "unknown array 'more'"),
    ],
)
def test_damaged(change: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "head.npz"
    heads.head().save(path)
    np.savez(path, **change(arrays(path)))
    with pytest.raises(LabelError, match=message):
        LabelBank.load(path)


def test_another_space_is_refused_with_what_to_do(tiny_bundle: Path) -> None:
    with pytest.raises(
        BundleError, match=r"another-space, the bundle to tiny-space.*clap-export head"
    ):
        Classifier(tiny_bundle, heads.head(space="another-space"))


@pytest.mark.parametrize("asked", ["cosine", "multilabel"])
def test_other_scores_are_refused(asked: Any, tiny_bundle: Path) -> None:
    with pytest.raises(ClapError, match="a head, whose scores are 'softmax'"):
        Classifier(tiny_bundle, heads.head(), scores=asked)
    with Classifier(tiny_bundle, heads.head(), scores="softmax") as classifier:
        assert classifier.scores == "softmax"


@MODES
def test_a_tagger_of_a_head(scores: str, tiny_bundle: Path, tmp_path: Path) -> None:
    bank, path = heads.head(scores), tmp_path / "tagger.onnx"
    model = freeze(Bundle(tiny_bundle), bank, None, 2)
    path.write_bytes(model.SerializeToString())
    clips = [tiny.clip(seed, n) for seed, n in enumerate((900, tiny.WINDOW, 3 * tiny.WINDOW + 5))]
    with Tagger(path) as tagger, Classifier(tiny_bundle, bank, top_k=2) as classifier:
        assert tagger.scores == scores
        for clip in clips:
            assert tagger.predict(clip, tiny.RATE) == classifier.predict(clip, tiny.RATE)
    session = onnxruntime.InferenceSession(path)
    window = tiny.clip(5)
    found, values, indices = session.run(
        ["scores", "values", "indices"], {"waveform": window[np.newaxis]}
    )
    with Encoder(tiny_bundle) as encoder:
        wanted = heads.logits(bank, encoder.embed_audio(window, tiny.RATE)[0])
    assert np.abs(found[0] - probabilities(wanted, scores)).max() < 1e-5
    assert indices[0].tolist() == np.argsort(-wanted)[:2].tolist()
    assert np.array_equal(values[0], found[0][indices[0]])


def test_labels_of_a_tagger_and_a_head_are_not_exchanged(tiny_bundle: Path, tmp_path: Path) -> None:
    with Encoder(tiny_bundle) as encoder:
        words = LabelBank.build(encoder, ["dog", "rain", "bell"])
    for own, other, message in (
        (heads.head(), words, "the tagger has"),
        (words, heads.head(), "new"),
    ):
        path = tmp_path / "tagger.onnx"
        path.write_bytes(freeze(Bundle(tiny_bundle), own, None, None).SerializeToString())
        with pytest.raises(ClapError, match=message):
            relabel(TaggerFile(path), other)


def test_a_damaged_tagger_of_a_head(tiny_bundle: Path, tmp_path: Path) -> None:
    model = freeze(Bundle(tiny_bundle), heads.head(), None, None)
    (scales,) = (i for i in model.graph.initializer if i.name == "label_scales")
    scales.raw_data = (2 * heads.SCALES).tobytes()
    (tmp_path / "tagger.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match=r"damaged tagger: of its head, .* SHA-256"):
        Tagger(tmp_path / "tagger.onnx")
