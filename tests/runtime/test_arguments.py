"""Arguments of the wrong kind or size: one sentence each, at once; what would be ignored is not
taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import Classifier, Encoder, LabelBank
from runtime.bundle import Bundle
from runtime.errors import BackendError, BundleError, ClapError, LabelError
from tests.tiny.bundle import LABELS, RATE, WINDOW, clip

NO_WHOLE = [1.5, True, "2", 0, -1, float("nan"), [1], np.float32(2), 1e9]


@pytest.mark.parametrize("value", NO_WHOLE, ids=repr)
@pytest.mark.parametrize("name", ["top_k", "threads", "batch_size"])
def test_whole_numbers(tiny_bundle: Path, name: str, value: object) -> None:
    with pytest.raises(ClapError, match=f"{name}="):
        Classifier(tiny_bundle, LABELS, **{name: value})


def test_more_than_there_is_is_all_of_it(tiny_bundle: Path) -> None:
    made = Classifier(tiny_bundle, LABELS, top_k=10**30, batch_size=10**30)
    assert len(made.predict(clip(0), RATE)) == len(LABELS)
    assert len(made.predict(clip(0), RATE, top_k=10**20)) == len(LABELS)
    assert len(made.timeline(clip(0, 5 * WINDOW), RATE, hop=1e308)) == 2  # the last, at the end


@pytest.mark.parametrize("value", [1025, 10**9, 10**30])
def test_threads_that_would_end_the_process(tiny_bundle: Path, value: int) -> None:
    with pytest.raises(ClapError, match=r"threads=.*pass at most 1024"):
        Classifier(tiny_bundle, LABELS, threads=value)
    made = Classifier(tiny_bundle, LABELS)
    for name in ("decode_threads", "parallel"):
        with pytest.raises(ClapError, match=rf"{name}=.*pass at most 1024"):
            made.predict_many([], **{name: value})


@pytest.mark.parametrize("templates", [5, b"{}", object(), 1.5, [None], "{}{}" + "x" * 10**6])
def test_templates_that_are_none(tiny_bundle: Path, templates: object) -> None:
    with pytest.raises(LabelError, match="template") as error:
        Classifier(tiny_bundle, LABELS, templates=templates)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("texts", [None, 5, object(), b"a dog"], ids=lambda v: type(v).__name__)
def test_texts_that_are_none(tiny_bundle: Path, texts: Any) -> None:
    with pytest.raises(LabelError, match=r"texts=.*pass one text or several"):
        Encoder(tiny_bundle).embed_text(texts)


@pytest.mark.parametrize("path", [None, 5, object()], ids=lambda v: type(v).__name__)
def test_places_of_a_bank_that_are_none(tiny_bundle: Path, path: Any) -> None:
    bank = Classifier(tiny_bundle, LABELS).bank
    for use in (bank.save, LabelBank.load):
        with pytest.raises(LabelError, match="is no name of a file"):
            use(path)


@pytest.mark.parametrize("value", [1.5, True, "0", -1])
def test_the_number_of_a_gpu(tiny_bundle: Path, value: object) -> None:
    with pytest.raises(ClapError, match="device="):
        Classifier(tiny_bundle, LABELS, device=value)


@pytest.mark.parametrize("value", ["0.5", True, float("nan"), float("inf"), [1], 1j, "x" * 10_000])
@pytest.mark.parametrize("name", ["threshold", "min_similarity"])
def test_bounds(tiny_bundle: Path, name: str, value: object) -> None:
    with pytest.raises(ClapError, match=f"{name}=") as error:
        Classifier(tiny_bundle, LABELS, **{name: value})
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    "value", ["1", True, [1.0], float("nan"), -(10**400), object()], ids=lambda v: type(v).__name__
)
def test_times(tiny_bundle: Path, value: object) -> None:
    made = Classifier(tiny_bundle, LABELS)
    with pytest.raises(ClapError, match="hop="):
        made.timeline(clip(0), RATE, hop=value)
    with pytest.raises(ClapError, match="max_seconds="):
        Encoder(tiny_bundle, max_seconds=value)
    with pytest.raises(ClapError, match=r"sample.rate"):
        made.predict(clip(0), value)
    Encoder(tiny_bundle, max_seconds=float("inf"))


def test_numpys_numbers_are_numbers(tiny_bundle: Path) -> None:
    made = Classifier(
        tiny_bundle, LABELS, top_k=np.int64(2), batch_size=np.uint8(3), threads=np.int32(1),
        threshold=np.float32(0.0), max_seconds=np.float64(60),
    )  # fmt: skip
    assert len(made.predict(clip(0), np.float32(RATE))) == 2
    assert made.timeline(clip(0, 2 * WINDOW), RATE, hop=np.float32(0.25))


@pytest.mark.parametrize("labels", [None, 5, True, b"dog", 0.5, object()])
def test_labels_that_are_none(tiny_bundle: Path, labels: object) -> None:
    with pytest.raises(LabelError, match="labels="):
        Classifier(tiny_bundle, labels)


@pytest.mark.parametrize("bundle", [None, 5, b"x", ["x"]])
def test_bundles_that_are_none(bundle: object) -> None:
    for kind in (Encoder, lambda given: Classifier(given, LABELS)):
        with pytest.raises(BundleError, match="is no bundle"):
            kind(bundle)


@pytest.mark.parametrize("providers", [5, (), [1], (None,), True])
def test_providers_that_are_none(tiny_bundle: Path, providers: object) -> None:
    with pytest.raises(BackendError, match="providers="):
        Encoder(tiny_bundle, providers=providers)


def test_scores_of_another_type(tiny_bundle: Path) -> None:
    for scores in (["softmax"], 3):
        with pytest.raises(ClapError, match="scores="):
            Classifier(tiny_bundle, LABELS, scores=scores)


@pytest.mark.parametrize(
    "given",
    [
        {"threads": 2}, {"providers": ("cpu",)}, {"batch_size": 16}, {"device": 0},
        {"check_hashes": False}, {"max_seconds": 5.0}, {"threads": 2, "device": 1},
    ],
)  # fmt: skip
def test_an_encoder_has_decided_already(tiny_bundle: Path, given: dict[str, Any]) -> None:
    with Encoder(tiny_bundle) as encoder, pytest.raises(ClapError, match=", ".join(given)):
        Classifier(encoder, LABELS, **given)


def test_a_gpu_for_what_runs_on_none(tiny_bundle: Path) -> None:
    with pytest.raises(BackendError, match="'cpu' runs on no GPU"):
        Encoder(tiny_bundle, device=0)


def test_hashes_of_an_opened_bundle_are_compared_when_that_is_asked_for(tmp_path: Path) -> None:
    from tests.tiny import bundle as tinybundle

    folder = tinybundle.build(tmp_path / "b")
    data = bytearray((folder / "audio.onnx").read_bytes())
    data[-1] ^= 1
    (folder / "audio.onnx").write_bytes(data)
    opened = Bundle(folder, check_hashes=False)
    with pytest.raises(BundleError, match="SHA-256"):
        Encoder(opened, check_hashes=True).open_audio()
