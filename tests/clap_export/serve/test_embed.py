"""Embeddings over HTTP are the Encoder's; texts come in OpenAI's form too."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clap_export.serve.limits import Limits
from runtime import Encoder, LabelBank
from tests.clap_export.serve.running import Running, error_of, running
from tests.tiny import bundle as tiny

SOUND = tiny.wav(tiny.clip(9, 3 * tiny.WINDOW + 777))


@pytest.fixture(scope="module")
def encoder(tiny_bundle: Path) -> Iterator[Encoder]:
    with Encoder(tiny_bundle, threads=1) as made:
        yield made


def unpacked(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(-1, tiny.DIM)


def post(server: Running, path: str, document: Any) -> Any:
    return server.client.post(path, json=document)


@pytest.mark.parametrize("windows", [None, "loudest", "middle:2", "back-to-back"])
def test_a_recording(server: Running, tiny_bundle: Path, windows: str | None) -> None:
    query = {} if windows is None else {"windows": windows}
    found = server.post("/v1/embed/audio", SOUND, params=query).json()
    packed = server.post("/v1/embed/audio", SOUND, params={**query, "encoding": "base64"}).json()
    with Encoder(tiny_bundle, windows=windows, threads=1) as encoder:
        wanted = encoder.embed_audio(SOUND)
        assert found["clip_space_id"] == encoder.clip_space_id
    np.testing.assert_allclose([found["embedding"]], wanted, atol=1e-6)
    np.testing.assert_allclose(unpacked(packed["embedding"]), wanted, atol=1e-6)
    assert found["dimensions"] == tiny.DIM
    assert "windows" not in found


def test_each_window(server: Running) -> None:
    query = {"each_window": "true", "hop": "0.25"}
    found = server.post("/v1/embed/audio", SOUND, params=query).json()
    samples = tiny.clip(9, 3 * tiny.WINDOW + 777)
    starts = [*range(0, len(samples) - tiny.WINDOW, 4000), len(samples) - tiny.WINDOW]
    assert found["windows"]["start"] == [start / tiny.RATE for start in starts]
    assert found["windows"]["end"] == [(start + tiny.WINDOW) / tiny.RATE for start in starts]
    wanted = [tiny.slow_audio_embedding(samples[s : s + tiny.WINDOW]) for s in starts]
    np.testing.assert_allclose(unpacked(found["windows"]["embeddings"]), wanted, atol=1e-5)
    mean = np.mean(wanted, axis=0)
    np.testing.assert_allclose(found["embedding"], mean / np.linalg.norm(mean), atol=1e-5)


def test_windows_of_a_policy_without_an_embedding(server: Running) -> None:
    error_of(server.post("/v1/embed/audio", SOUND, params={"windows": "rare"}), 422, "options")
    error_of(server.post("/v1/embed/audio", SOUND, params={"hop": "1"}), 422, "options")
    with_windows = {"windows": "rare", "each_window": "true"}
    assert server.post("/v1/embed/audio", SOUND, params=with_windows).status_code == 200


def test_too_many_windows_are_refused(tiny_bundle: Path) -> None:
    with running(tiny_bundle, limits=Limits(rows=4)) as server:
        query = {"each_window": "true", "hop": "0.1"}
        error_of(server.post("/v1/embed/audio", SOUND, params=query), 413, "too_long")


def test_texts_and_labels(server: Running, encoder: Encoder) -> None:
    texts = ["dog barking", "rain", "the loud sea"]
    found = post(server, "/v1/embed/text", {"texts": texts}).json()
    np.testing.assert_allclose(found["embeddings"], encoder.embed_text(texts), atol=1e-6)
    one = post(server, "/v1/embed/text", {"texts": "rain", "encoding": "base64"}).json()
    np.testing.assert_allclose(
        unpacked(one["embeddings"]), [tiny.slow_text_embedding("rain")], atol=1e-5
    )
    templates = ["the {}", "a loud {}"]
    labels = {"texts": texts, "labels": True, "templates": templates}
    found = post(server, "/v1/embed/text", labels).json()
    wanted = LabelBank.build(encoder, texts, templates).embeddings
    np.testing.assert_allclose(found["embeddings"], wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"texts": []}, "labels"),
        ({"texts": [" "]}, "labels"),
        ({"texts": ["x" * 90_000]}, "labels"),
        ({"texts": ["x" * 100_001]}, "options"),
        ({"texts": 5}, "options"),
        ({"texts": [[1, 2]]}, "options"),
        ({}, "options"),
        ([], "options"),
        ({"texts": "a", "more": 1}, "options"),
        ({"texts": "a", "templates": ["{}"]}, "options"),
        ({"texts": "a", "labels": True, "templates": ["{} {}"]}, "labels"),
    ],
)
def test_documents_that_cannot_be_used(server: Running, document: Any, kind: str) -> None:
    error_of(post(server, "/v1/embed/text", document), 422, kind)


def test_what_is_no_json(server: Running) -> None:
    for body in (b"", b"{", b"\xff", b"[" * 5000, b'{"texts": "a", "texts": "b"}', b"9" * 5000):
        headers = {"Content-Type": "application/json"}
        error_of(server.post("/v1/embed/text", body, headers=headers), 422, "json")
    # What another site's page can send without asking.
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        headers = {"Content-Type": kind}
        error_of(server.post("/v1/embed/text", b'{"texts": "a"}', headers=headers), 415, "type")


def test_the_client_of_openai_works(server: Running, encoder: Encoder) -> None:
    openai = pytest.importorskip("openai")
    address = f"http://127.0.0.1:{server.port}/v1"
    texts = ["dog barking", "rain"]
    with openai.OpenAI(base_url=address, api_key="none at all") as client:
        (model,) = client.models.list().data
        assert client.models.retrieve(model.id) == model
        with pytest.raises(openai.NotFoundError, match="no model 'gpt/5' here: ask for 'tiny'"):
            client.models.retrieve("gpt/5")
        for encoding in ({}, {"encoding_format": "float"}):
            made = client.embeddings.create(model=model.id, input=texts, **encoding)
            found = [item.embedding for item in made.data]
            np.testing.assert_allclose(found, encoder.embed_text(texts), atol=1e-6)
        assert made.usage.prompt_tokens == 4 + 3  # with [CLS] and [SEP]
        assert made.model == "tiny"
        with pytest.raises(openai.NotFoundError, match="ask for 'tiny'"):
            client.embeddings.create(model="text-embedding-3-small", input="rain")
        with pytest.raises(openai.UnprocessableEntityError, match="cannot be cut"):
            client.embeddings.create(model="tiny", input="rain", dimensions=2)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ("[]", "what was sent is no JSON object."),
        ("null", "what was sent is no JSON object."),
        (
            '{"texts": 3}',
            "texts: Input should be a valid string; texts: Input should be a valid list.",
        ),
        ('{"texts": ["a", 3]}', "texts.1: Input should be a valid string"),
        ("{}", "texts: Field required."),
    ],
)
def test_a_body_of_another_form(server: Running, sent: str, said: str) -> None:
    """Complaints name the field, and no type of Python's."""
    headers = {"content-type": "application/json"}
    answer = server.client.post("/v1/embed/text", content=sent, headers=headers)
    sentence = error_of(answer, 422, "options")
    assert said in sentence
    assert "[" not in sentence
    assert "constrained" not in sentence
