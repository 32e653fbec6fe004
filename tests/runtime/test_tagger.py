"""A tagger gives what a classifier of its bundle and labels gives, and refuses what is none."""

from __future__ import annotations

import contextlib
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from clap_export.freeze.graph import freeze, relabel
from runtime import Bundle, ClapError, Classifier, LabelBank, Tagger
from runtime.backends import open_backend
from runtime.clips.policy import PRESETS
from runtime.errors import BundleError, LabelError, SchemaError
from runtime.manifest import Calibration
from runtime.tagger_file import KEY, LABELS, MANIFEST_KEY, TaggerFile
from tests.tiny import bundle as tiny

CALIBRATED = Calibration(12.0, -3.0)
# Shorter than a window, one, a little more, and many.
LENGTHS = (1, 900, tiny.WINDOW, tiny.WINDOW + 1, 5 * tiny.WINDOW + 77)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build(tmp_path_factory.mktemp("calibrated") / "b", calibration=CALIBRATED)


@pytest.fixture(scope="module")
def bank(calibrated: Path) -> LabelBank:
    with Classifier(calibrated, tiny.LABELS) as classifier:
        return classifier.bank


def made(
    folder: Path, bundle: Path, bank: LabelBank, scores: str = "softmax", top_k: int | None = None
) -> Path:
    path = folder / "tagger.onnx"
    path.write_bytes(freeze(Bundle(bundle), bank, scores, top_k).SerializeToString())
    return path


@pytest.mark.parametrize("scores", ["softmax", "cosine", "multilabel"])
def test_predictions_are_those_of_the_classifier(
    tmp_path: Path, calibrated: Path, bank: LabelBank, scores: str
) -> None:
    path = made(tmp_path, calibrated, bank, scores)
    with Tagger(path) as tagger, Classifier(calibrated, bank, scores=scores) as classifier:
        for n in LENGTHS:
            clip = tiny.clip(n, n)
            assert tagger.predict(clip, tiny.RATE) == classifier.predict(clip, tiny.RATE)
        clips = [(tiny.clip(n, n), tiny.RATE) for n in LENGTHS]
        assert [r.predictions for r in tagger.predict_many(clips)] == [
            r.predictions for r in classifier.predict_many(clips)
        ]
        long = tiny.clip(0, 5 * tiny.WINDOW)
        assert tagger.timeline(long, tiny.RATE, hop=0.2) == classifier.timeline(
            long, tiny.RATE, hop=0.2
        )
        assert tagger.labels == classifier.labels


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_policies_are_those_of_the_classifier(
    tmp_path: Path, calibrated: Path, bank: LabelBank, name: str
) -> None:
    path = made(tmp_path, calibrated, bank)
    clip = tiny.clip(3, 3 * tiny.WINDOW + 1000)
    try:
        classifier = Classifier(calibrated, bank, windows=name)
    except ClapError:
        with pytest.raises(ClapError):
            Tagger(path, windows=name)
        return
    with classifier, Tagger(path, windows=name) as tagger:
        assert tagger.predict(clip, tiny.RATE) == classifier.predict(clip, tiny.RATE)


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
@pytest.mark.parametrize("scores", ["softmax", "cosine", "multilabel"])
def test_the_graph_alone_gives_the_scores(
    tmp_path: Path, calibrated: Path, bank: LabelBank, scores: str, provider: str
) -> None:
    """In an engine that knows nothing of us; against the tiny models' slow twins."""
    pytest.importorskip("onnxruntime" if provider == "cpu" else "openvino")
    path = made(tmp_path, calibrated, bank, scores)
    windows = np.stack([tiny.clip(i) for i in range(3)])
    found = open_backend(path, (provider,)).run({"waveform": windows})
    for i, window in enumerate(windows):
        cosines = np.array([tiny.slow_cosines(window)[name] for name in bank.names])
        np.testing.assert_allclose(found["similarity"][i], cosines, atol=1e-6)
        if scores == "softmax":
            wanted = np.exp(10 * cosines) / np.exp(10 * cosines).sum()
        else:
            wanted = 1 / (1 + np.exp(-(12 * cosines - 3))) if scores != "cosine" else cosines
        np.testing.assert_allclose(found["scores"][i], wanted, atol=1e-6)
        np.testing.assert_allclose(
            found["embedding"][i], tiny.slow_audio_embedding(window), atol=1e-6
        )


def test_the_best_labels(tmp_path: Path, calibrated: Path, bank: LabelBank) -> None:
    ort = pytest.importorskip("onnxruntime")
    path = made(tmp_path, calibrated, bank, top_k=3)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    windows = np.stack([tiny.clip(i) for i in range(4)])
    scores, values, indices = session.run(["scores", "values", "indices"], {"waveform": windows})
    assert indices.dtype == np.int64
    with Tagger(path) as tagger:
        for i, window in enumerate(windows):
            found = tagger.predict(window, tiny.RATE)
            assert [p.label for p in found] == [bank.names[j] for j in indices[i]]
            np.testing.assert_allclose([p.score for p in found], values[i], atol=1e-6)
            np.testing.assert_array_equal(values[i], scores[i][indices[i]])
        assert len(tagger.predict(windows[0], tiny.RATE, top_k=5)) == 5


def test_equal_scores_are_ordered_by_their_cosines(tmp_path: Path, bank: LabelBank) -> None:
    """A scale that saturates the softmax: all but one score are zero."""
    bundle = tiny.build(tmp_path / "b", logit_scale=1e5)
    path = made(tmp_path, bundle, bank, top_k=5)
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    cosines, indices = session.run(["similarity", "indices"], {"waveform": tiny.clip(0)[None]})
    assert indices[0].tolist() == np.argsort(-cosines[0]).tolist()


def test_bounds_and_closing(tmp_path: Path, calibrated: Path, bank: LabelBank) -> None:
    path = made(tmp_path, calibrated, bank)
    clip = tiny.clip(0)
    with Tagger(path, min_similarity=1.0) as tagger:
        assert tagger.predict(clip, tiny.RATE) == []
    tagger = Tagger(path, top_k=2)
    before = tagger.predict(clip, tiny.RATE)
    assert len(before) == 2
    again = pickle.loads(pickle.dumps(tagger))
    assert isinstance(again, Tagger)
    assert again.predict(clip, tiny.RATE) == before
    tagger.close()
    assert tagger.predict(clip, tiny.RATE) == before  # it is read again
    tagger.close()
    path.write_bytes(path.read_bytes() + b"\x72\x00")  # an empty entry of its metadata
    with pytest.raises(BundleError, match="changed while it was in use"):
        tagger.predict(clip, tiny.RATE)


def test_a_tagger_has_no_text_encoder(tmp_path: Path, calibrated: Path, bank: LabelBank) -> None:
    path = made(tmp_path, calibrated, bank)
    with pytest.raises(BundleError, match="no text encoder"):
        Tagger(path).encoder.embed_text("dog")
    with pytest.raises(BundleError, match="--relabel"):
        Classifier(TaggerFile(path), ["dog", "cat"])


def test_relabel(tmp_path: Path, calibrated: Path, bank: LabelBank) -> None:
    path = made(tmp_path, calibrated, bank, top_k=2)
    with Classifier(calibrated, {"x": "a loud bell", "y": "the sea", "z": "rain"}) as classifier:
        other = classifier.bank
        other_path = tmp_path / "other.onnx"
        other_path.write_bytes(relabel(TaggerFile(path), other).SerializeToString())
        clip = tiny.clip(1, 3 * tiny.WINDOW)
        with Tagger(other_path, top_k=3) as tagger:
            assert tagger.predict(clip, tiny.RATE) == classifier.predict(clip, tiny.RATE)
        back = relabel(TaggerFile(other_path), bank).SerializeToString()
        assert back == relabel(TaggerFile(path), bank).SerializeToString()
        one = LabelBank(("x",), (), np.array(other.embeddings[:1]), other.space_id)
        with pytest.raises(ClapError, match="best 2 of 1"):
            relabel(TaggerFile(path), one)
        strange = replace(other, space_id="elsewhere")
        with pytest.raises(BundleError, match="elsewhere"):
            relabel(TaggerFile(path), strange)


def test_what_cannot_be_frozen(tmp_path: Path, tiny_bundle: Path, bank: LabelBank) -> None:
    bundle = Bundle(tiny_bundle)
    with pytest.raises(ClapError, match="no calibration"):
        freeze(bundle, bank, "multilabel", None)
    with pytest.raises(ClapError, match="best 9 of 5"):
        freeze(bundle, bank, "softmax", 9)
    with pytest.raises(BundleError, match="elsewhere"):
        freeze(bundle, replace(bank, space_id="elsewhere"), "softmax", None)
    fused = replace(tiny.MANIFEST.audio, long_clips="fusion")
    policy = replace(tiny.MANIFEST.policy, windows="fusion")
    folder = tiny.build(tmp_path / "fused", audio=fused, policy=policy)
    with pytest.raises(ClapError, match="feature fusion"):
        freeze(Bundle(folder), bank, "softmax", None)


def described(model: onnx.ModelProto, key: str) -> onnx.StringStringEntryProto:
    return next(entry for entry in model.metadata_props if entry.key == key)


def amended(key: str, **changes: object) -> Callable[[onnx.ModelProto], None]:
    def amend(model: onnx.ModelProto) -> None:
        entry = described(model, key)
        entry.value = json.dumps(json.loads(entry.value) | changes)

    return amend


def without(key: str) -> Callable[[onnx.ModelProto], None]:
    return lambda model: model.metadata_props.remove(described(model, key))


def twice(model: onnx.ModelProto) -> None:
    model.metadata_props.append(model.metadata_props[0])


def other_labels(model: onnx.ModelProto) -> None:
    (constant,) = (i for i in model.graph.initializer if i.name == LABELS)
    array = numpy_helper.to_array(constant)
    constant.CopyFrom(numpy_helper.from_array(array[::-1].copy(), LABELS))


def loop(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Loop", ["", ""], ["x"]))


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (without(KEY), BundleError, "no tagger"),
        (without(MANIFEST_KEY), BundleError, "no tagger"),
        (twice, BundleError, "two texts"),
        (other_labels, BundleError, "SHA-256"),
        (loop, BundleError, "'Loop'"),
        (amended(KEY, labels=["a"]), BundleError, "damaged tagger"),
        (amended(KEY, labels=["a"] * 5), LabelError, "listed twice"),
        (amended(KEY, labels=["a", "b", "c", "d", "\x1b[2J"]), LabelError, "control characters"),
        (amended(KEY, format_version=2), SchemaError, "format_version"),
        (amended(KEY, surprise=1), SchemaError, "unknown key 'surprise'"),
        (amended(KEY, top_k=0), SchemaError, "top_k"),
        (amended(KEY, scores="loud"), SchemaError, "scores"),
        (amended(MANIFEST_KEY, format="x"), BundleError, "manifest"),
        (amended(MANIFEST_KEY, embedding_dim=9), BundleError, "damaged tagger"),
        (lambda model: model.graph.output.pop(0), BundleError, "'scores'"),
    ],
    ids=range(15),
)  # fmt: skip
def test_files_that_are_no_taggers(
    tmp_path: Path, calibrated: Path, bank: LabelBank,
    change: Callable[[onnx.ModelProto], None], error: type[Exception], said: str,
) -> None:  # fmt: skip
    model = freeze(Bundle(calibrated), bank, "softmax", None)
    change(model)
    path = tmp_path / "x.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(error, match=said) as found:
        Tagger(path)
    assert "\x1b" not in str(found.value)


def test_any_other_file_is_one_sentence(tmp_path: Path, calibrated: Path) -> None:
    (tmp_path / "text").write_text("hello")
    for path in (tmp_path / "missing", tmp_path, tmp_path / "text", calibrated / "audio.onnx"):
        with pytest.raises(ClapError):
            Tagger(path)
    whole = made(tmp_path, calibrated, LabelBank.build(
        Classifier(calibrated, ["dog"]).encoder, ["dog", "rain"])).read_bytes()  # fmt: skip
    rng = np.random.default_rng(0)
    for _ in range(60):  # damaged anywhere: refused with a sentence, or still a tagger
        data = bytearray(whole)
        at = int(rng.integers(len(data)))
        data[at] ^= 1 << int(rng.integers(8))
        (tmp_path / "damaged").write_bytes(data[: int(rng.integers(at, len(data) + 1))])
        with contextlib.suppress(ClapError):
            Tagger(tmp_path / "damaged").close()


def test_openvinos_own_format_is_refused_in_one_sentence(
    tmp_path: Path, calibrated: Path, bank: LabelBank
) -> None:
    pytest.importorskip("openvino")
    from clap_export.freeze import files

    model = freeze(Bundle(calibrated), bank, "softmax", None)
    files.write(model, bank, tmp_path / "tagger.xml", "openvino", overwrite=False)
    for name in ("tagger.xml", "tagger.bin"):
        with pytest.raises(BundleError, match=r"OpenVINO's own format.*give the tagger's .onnx"):
            Tagger(tmp_path / name)
