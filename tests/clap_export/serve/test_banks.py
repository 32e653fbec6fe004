"""Banks of labels by name: kept in a folder, where that is allowed, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from websockets.sync.client import connect

from clap_export.serve.limits import Limits
from runtime import Encoder, LabelBank
from runtime.bundle import Bundle
from tests.clap_export.serve.running import PATIENCE, Running, error_of, running
from tests.tiny import bundle as tiny

SOUND = tiny.wav(tiny.clip(1))


def test_a_bank_is_made_used_and_removed(tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tiny_bundle, folder=tmp_path, allow_banks=True) as server:
        made = server.client.post("/v1/banks/my-own.1", json={"labels": ["dog", "loud sea"]})
        assert made.status_code == 201, made.text
        assert made.json()["labels"] == ["dog", "loud sea"]
        assert made.json()["templates"] == ["this is a sound of {}"]
        assert [path.name for path in tmp_path.iterdir()] == ["my-own.1.npz"]
        with Encoder(tiny_bundle, threads=1) as encoder:
            wanted = LabelBank.build(encoder, ["dog", "loud sea"])
        kept = LabelBank.load(tmp_path / "my-own.1.npz")
        np.testing.assert_allclose(kept.embeddings, wanted.embeddings, atol=1e-6)
        answer = server.post("/v1/classify", SOUND, params={"bank": "my-own.1"})
        assert {p["label"] for p in answer.json()["predictions"]} == {"dog", "loud sea"}
        listed = {"banks": ["default", "my-own.1"], "default": "default"}
        assert server.client.get("/v1/banks").json() == listed
        # A new one of this name is the one that is used.
        texts = {"labels": {"bell": "the bell", "wind": ["wind", "loud wind"]}}
        again = server.client.post("/v1/banks/my-own.1", json=texts)
        assert again.json()["templates"] == []
        answer = server.post("/v1/classify", SOUND, params={"bank": "my-own.1"})
        assert {p["label"] for p in answer.json()["predictions"]} == {"bell", "wind"}
        assert server.client.get("/v1/banks/my-own.1").json() == again.json()
        assert server.client.delete("/v1/banks/my-own.1").status_code == 204
        error_of(server.client.delete("/v1/banks/my-own.1"), 404, "bank")
        error_of(server.client.get("/v1/banks/my-own.1"), 404, "bank")
        assert list(tmp_path.iterdir()) == []


def test_banks_outlive_the_server(tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tiny_bundle, folder=tmp_path, allow_banks=True) as server:
        server.client.post("/v1/banks/kept", json={"labels": ["dog", "sea"]})
    with running(tiny_bundle, folder=tmp_path) as server:
        assert server.client.get("/v1/banks/kept").json()["labels"] == ["dog", "sea"]
        refused = server.client.post("/v1/banks/kept", json={"labels": ["dog"]})
        assert "--allow-banks" in error_of(refused, 403, "bank")
        error_of(server.client.delete("/v1/banks/kept"), 403, "bank")
    assert (tmp_path / "kept.npz").exists()


def test_the_servers_own_labels_stay(tiny_bundle: Path, tmp_path: Path) -> None:
    with running(tiny_bundle, folder=tmp_path, allow_banks=True) as server:
        refused = server.client.post("/v1/banks/default", json={"labels": ["dog"]})
        error_of(refused, 403, "bank")
        error_of(server.client.delete("/v1/banks/default"), 403, "bank")
        assert server.client.get("/v1/banks/default").json()["labels"] == list(tiny.LABELS)


@pytest.mark.parametrize(
    "name", ["..", "%2e%2e", ".hidden", "A", "a b", "ä", "a" * 65, "-a", "a%2fb", "a%00b", "%0a"]
)
def test_names_that_could_be_paths_are_none(
    tiny_bundle: Path, tmp_path: Path, server: Running, name: str
) -> None:
    (tmp_path / "outside.npz").write_bytes(b"x")
    folder = tmp_path / "banks"
    folder.mkdir()
    with running(tiny_bundle, folder=folder, allow_banks=True) as server:
        for path in (f"/v1/banks/{name}", f"/v1/banks/..%2f{name}"):
            for answer in (
                server.client.post(path, json={"labels": ["dog"]}),
                server.client.get(path),
                server.client.delete(path),
            ):
                assert answer.status_code in (404, 405, 422), answer.text
        answer = server.post("/v1/classify", SOUND, params={"bank": name})
        assert answer.status_code in (404, 422)
    assert list(folder.iterdir()) == []


def test_a_bank_that_is_damaged_or_of_another_model_is_said_to_be(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "torn.npz").write_bytes(b"PK nothing")
    rows = np.eye(tiny.DIM, dtype=np.float32)[:2]
    LabelBank(("a", "b"), (), rows, "another-space").save(tmp_path / "other.npz")
    with running(tiny_bundle, folder=tmp_path) as server:
        for name in ("torn", "other"):
            for answer in (
                server.client.get(f"/v1/banks/{name}"),
                server.post("/v1/classify", SOUND, params={"bank": name}),
            ):
                text = error_of(answer, 409, "bank")
                assert str(tmp_path) not in text
        assert server.client.get("/v1/banks").json()["banks"] == ["default", "other", "torn"]


def test_a_bank_of_many_labels_is_not_answered_whole(tiny_bundle: Path, tmp_path: Path) -> None:
    rows = np.tile(np.eye(tiny.DIM, dtype=np.float32), (2, 1))
    space = Bundle(tiny_bundle).manifest.space_id
    names = tuple(f"label {i}" for i in range(len(rows)))
    LabelBank(names, (), rows, space).save(tmp_path / "many.npz")
    limits = Limits(rows=10, predictions=len(rows) - 1)
    with running(tiny_bundle, folder=tmp_path, limits=limits) as server:
        assert len(server.client.get("/v1/banks/many").json()["labels"]) == len(rows)
        answer = server.client.get("/v1/banks/many", params={"embeddings": "true"})
        assert "at most 10" in error_of(answer, 413, "too_long")
        query = {"bank": "many"}
        for more in ({}, {"top_k": len(rows)}, {"timeline": "true", "top_k": len(rows)}):
            answer = server.post("/v1/classify", SOUND, params={**query, **more})
            assert "top_k" in error_of(answer, 413, "too_long")
        for more in ({"top_k": 2}, {"timeline": "true"}):
            answer = server.post("/v1/classify", SOUND, params={**query, **more})
            assert answer.status_code == 200, answer.text
        with connect(f"ws://127.0.0.1:{server.port}/v1/listen") as stream:
            stream.send(json.dumps({"rate": 16_000, "bank": "many"}))
            assert json.loads(stream.recv(PATIENCE))["error"]["type"] == "too_long"


def test_a_folder_that_cannot_be_written_is_said_to_be(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    with running(tiny_bundle, folder=folder, allow_banks=True) as server:
        refused = server.client.post("/v1/banks/a", json={"labels": ["dog"]})
        assert str(tmp_path) not in error_of(refused, 503, "disk")
