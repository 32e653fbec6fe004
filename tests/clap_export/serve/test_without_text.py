"""Servers without a text encoder: of a slim bundle with its banks, and of a tagger."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from click.testing import CliRunner

from clap_export.cli import main
from clap_export.serve.source import Source
from clap_export.slim import slim
from runtime import Bundle, Classifier, Encoder, LabelBank, Tagger
from tests.clap_export.serve.running import PATIENCE, Running, error_of, process, running
from tests.tiny import bundle as tiny

SOUND = tiny.wav(tiny.clip(9, 3 * tiny.WINDOW + 777))
NO_TEXT = "no text encoder, so labels cannot be sent as words"


@pytest.fixture(scope="module")
def folder(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``slim`` (a bundle), ``bank.npz`` and ``Street 1.onnx`` (a tagger with two answers)."""
    made = tmp_path_factory.mktemp("without")
    slim(Bundle(tiny_bundle), made / "slim")
    with Encoder(tiny_bundle) as encoder:
        LabelBank.build(encoder, tiny.LABELS).save(made / "bank.npz")
    arguments = ["freeze", str(tiny_bundle), "dog,rain,bell", "-o", str(made / "Street 1.onnx")]
    done = CliRunner().invoke(main, [*arguments, "--scores", "cosine", "--top-k", "2"])
    assert done.exit_code == 0, done.output
    return made


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Of the slim bundle, without labels of its own; the bank is ``kept``."""
    banks = tmp_path_factory.mktemp("banks")
    (banks / "kept.npz").write_bytes((folder / "bank.npz").read_bytes())
    with running(folder / "slim", labels=(), folder=banks, allow_banks=True) as made:
        yield made


def test_banks_are_enough(server: Running, folder: Path) -> None:
    found = server.post("/v1/classify", SOUND, params={"bank": "kept"}).json()["predictions"]
    with Classifier(folder / "slim", folder / "bank.npz") as classifier:
        wanted = classifier.predict(SOUND)
    assert [one["label"] for one in found] == [one.label for one in wanted]
    scores = [one.score for one in wanted]
    np.testing.assert_allclose([one["score"] for one in found], scores, atol=1e-6)
    space = server.client.get("/v1/space").json()
    assert (space["embeds_text"], space["default_bank"]) == (False, None)
    assert server.client.get("/readyz").status_code == 200


def test_words_are_refused(server: Running) -> None:
    client = server.client
    texts = {"texts": ["rain"]}
    openai = {"input": "rain", "model": "tiny"}
    for answer in (
        server.post("/v1/classify", SOUND, params={"labels": "dog,rain"}),
        client.post("/v1/embed/text", json=texts),
        client.post("/v1/embed/text", json={**texts, "labels": True}),
        client.post("/v1/embeddings", json=openai),
        client.post("/v1/banks/new", json={"labels": ["rain"]}),
    ):
        assert NO_TEXT in error_of(answer, 409, "texts")
    assert client.get("/v1/banks").json()["banks"] == ["kept"]
    # Without any labels the sentence is the usual one.
    error_of(server.post("/v1/classify", SOUND), 422, "labels")


def test_a_bank_with_its_embeddings(server: Running, folder: Path) -> None:
    plain = server.client.get("/v1/banks/kept").json()
    found = server.client.get("/v1/banks/kept", params={"embeddings": "true"}).json()
    rows = np.frombuffer(base64.b64decode(found.pop("embeddings")), "<f4")
    assert np.array_equal(rows, LabelBank.load(folder / "bank.npz").embeddings.reshape(-1))
    assert found == plain
    assert plain["labels"] == tiny.LABELS


def test_a_tagger(folder: Path) -> None:
    path = folder / "Street 1.onnx"
    with running(Source.of(path)) as made, Tagger(path) as tagger:
        found = made.post("/v1/classify", SOUND).json()["predictions"]
        wanted = tagger.predict(SOUND)
        assert [one["label"] for one in found] == [one.label for one in wanted]
        similarities = [one.similarity for one in wanted]
        np.testing.assert_allclose([one["score"] for one in found], similarities, atol=1e-6)
        assert len(found) == 2
        every = made.post("/v1/classify", SOUND, params={"top_k": 3, "scores": "softmax"}).json()
        assert sum(one["score"] for one in every["predictions"]) == pytest.approx(1, abs=1e-6)
        refused = made.post("/v1/classify", SOUND, params={"labels": "sea"})
        assert NO_TEXT in error_of(refused, 409, "texts")
        assert str(folder) not in refused.text
        embedding = made.post("/v1/embed/audio", SOUND).json()["embedding"]
        np.testing.assert_allclose(embedding, tagger.encoder.embed_audio(SOUND)[0], atol=1e-6)


def test_the_command_serves_a_tagger(folder: Path) -> None:
    path = folder / "Street 1.onnx"
    with (
        process(path, "--labels", folder / "bank.npz") as (_, address),
        httpx.Client(base_url=address, timeout=PATIENCE) as client,
    ):
        space = client.get("/v1/space").json()
        assert (space["default_bank"], space["default_scores"]) == ("street-1", "cosine")
        assert client.get("/v1/banks").json()["banks"] == ["bank", "street-1"]
        found = client.post("/v1/classify", content=SOUND).json()["predictions"]
    with Tagger(path) as tagger:
        assert [one["label"] for one in found] == [one.label for one in tagger.predict(SOUND)]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--public-key", "k.pub"], "a tagger has no signature"),
        (["--labels", "dog,rain"], "is a tagger, with its labels inside and no text encoder"),
    ],
)
def test_what_a_tagger_has_not(folder: Path, more: list[str], said: str) -> None:
    done = CliRunner().invoke(main, ["serve", str(folder / "Street 1.onnx"), *more])
    assert (done.exit_code, said in done.output) == (2, True), done.output
