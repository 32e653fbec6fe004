"""Over HTTP come the Classifier's own numbers."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clap_export.serve.limits import Limits
from clap_export.serve.service import QUICK
from runtime import Classifier, Prediction
from tests.clap_export.serve.running import Running, error_of, running
from tests.tiny import bundle as tiny

CLIPS = {
    "short": (1, 3000), "window": (2, tiny.WINDOW), "long": (3, 5 * tiny.WINDOW + 1234),
    "longer": (4, (QUICK + 8) * tiny.WINDOW),
}  # fmt: skip
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> Iterator[Classifier]:
    with Classifier(tiny_bundle, tiny.LABELS, threads=1) as made:
        yield made


def wav(name: str) -> bytes:
    return tiny.wav(tiny.clip(*CLIPS[name]))


def same(found: list[dict[str, Any]], wanted: list[Prediction]) -> None:
    assert [p["label"] for p in found] == [p.label for p in wanted]
    for key in ("score", "similarity"):
        expected = [getattr(p, key) for p in wanted]
        assert [p[key] for p in found] == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("windows", [None, "head", "spaced:3", "loudest", "rare", "back-to-back"])
def test_a_recording(server: Running, tiny_bundle: Path, name: str, windows: str | None) -> None:
    query = {} if windows is None else {"windows": windows}
    answer = server.post("/v1/classify", wav(name), params=query)
    assert answer.status_code == 200, answer.text
    with Classifier(tiny_bundle, tiny.LABELS, windows=windows, threads=1) as classifier:
        same(answer.json()["predictions"], classifier.predict(wav(name)))
        assert answer.json()["clip_space_id"] == classifier.encoder.clip_space_id
    heard = CLIPS[name][1] / tiny.RATE
    assert answer.json()["warning"] is None
    if windows is None:
        assert answer.json()["seconds"] == pytest.approx(heard)


@pytest.mark.parametrize("hop", [None, 0.2])
@pytest.mark.parametrize("name", CLIPS)
def test_a_timeline(server: Running, classifier: Classifier, name: str, hop: float | None) -> None:
    query = {"timeline": "true", **({} if hop is None else {"hop": hop})}
    answer = server.post("/v1/classify", wav(name), params=query)
    wanted = classifier.timeline(wav(name), hop=hop, top_k=3)
    found = answer.json()["segments"]
    assert [(s["start"], s["end"]) for s in found] == [(s.start, s.end) for s in wanted]
    for segment, other in zip(found, wanted, strict=True):
        same(segment["predictions"], other.predictions)
    assert answer.json()["windows_heard"] == len(wanted)


def test_every_option_is_the_classifiers(server: Running, classifier: Classifier) -> None:
    labels = {"a": "dog barking", "b": ["rain", "loud rain"], "c": "sea"}
    wanted = Classifier(
        classifier.encoder, labels, scores="cosine", threshold=-0.5, min_similarity=-0.4, top_k=2
    ).predict(wav("long"))
    options = {
        "labels": json.dumps(labels), "scores": "cosine", "threshold": "-0.5",
        "min_similarity": "-0.4", "top_k": "2",
    }  # fmt: skip
    files = {"file": ("x.wav", wav("long"))}
    same(
        server.client.post("/v1/classify", files=files, data=options).json()["predictions"], wanted
    )
    same(server.post("/v1/classify", wav("long"), params=options).json()["predictions"], wanted)


def test_labels_come_as_names_lists_and_repeated_fields(
    server: Running, classifier: Classifier
) -> None:
    wanted = Classifier(classifier.encoder, ["dog", "rain", "sea"], templates="the {}")
    for labels in (["dog, rain,sea"], ["dog", "rain", "sea"], ['["dog", "rain"]', "sea"]):
        query = {"labels": labels, "templates": ["the {}"]}
        same(
            server.post("/v1/classify", wav("short"), params=query).json()["predictions"],
            wanted.predict(wav("short")),
        )


@pytest.mark.parametrize(("kind", "rate"), [("flac", 48_000), ("ogg", 8000), ("mp3", 44_100)])
def test_formats_of_libsndfile(
    server: Running, classifier: Classifier, tmp_path: Path, kind: str, rate: int
) -> None:
    import soundfile

    path = tmp_path / f"a.{kind}"
    soundfile.write(path, np.stack([tiny.clip(5, 3 * rate), tiny.clip(6, 3 * rate)], 1), rate)
    same(
        server.post("/v1/classify", path.read_bytes()).json()["predictions"],
        classifier.predict(path),
    )


@needs_ffmpeg
def test_formats_of_ffmpeg_and_a_file_that_is_cut(
    server: Running, classifier: Classifier, tmp_path: Path
) -> None:
    source, path = tmp_path / "a.wav", tmp_path / "a.m4a"
    source.write_bytes(wav("long"))
    subprocess.run(["ffmpeg", "-loglevel", "error", "-i", source, path], check=True)
    answer = server.client.post("/v1/classify", files={"file": path.read_bytes()})
    same(answer.json()["predictions"], classifier.predict(path))
    cut = wav("long")[:-40_000]
    answer = server.post("/v1/classify", cut)
    with pytest.warns(UserWarning, match="may not be whole") as said:
        same(answer.json()["predictions"], classifier.predict(cut))
    expected = str(said[0].message)
    warning = answer.json()["warning"]
    assert warning.startswith("the recording may not be whole")
    assert warning.partition("may not")[2] == expected.partition("may not")[2]


def test_an_upload_on_the_disk_is_the_same_and_leaves_nothing(
    tiny_bundle: Path, classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with running(tiny_bundle, limits=Limits(memory=1)) as server:
        for sound in (wav("long"), wav("longer")[:-9999]):
            for options in ({"content": sound}, {"files": {"file": sound}}):
                answer = server.client.post("/v1/classify", **options)
                assert answer.status_code == 200, answer.text
                assert "proc" not in answer.text
                assert str(tmp_path) not in answer.text
        same(server.post("/v1/classify", wav("long")).json()["predictions"],
             classifier.predict(wav("long")))  # fmt: skip
        text = error_of(server.post("/v1/classify", b"x" * 5000), 422, "audio")
        assert text.startswith("the recording cannot be decoded")
        assert server.service.uploads.disk.free == server.service.limits.disk
        assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_the_servers_fault(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with running(tiny_bundle, limits=Limits(memory=1)) as server:
        for options in ({"content": wav("long")}, {"files": {"file": wav("long")}}):
            answer = server.client.post("/v1/classify", **options)
            assert str(tmp_path) not in error_of(answer, 503, "disk")
            assert answer.headers["retry-after"] == "60"
        uploads = server.service.uploads
        assert (uploads.memory.free, uploads.disk.free) == (1, server.service.limits.disk)


def events(text: str) -> list[tuple[str, Any]]:
    found = []
    for block in text.strip().split("\n\n"):
        if not block.startswith(":"):
            name, data = block.split("\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_a_timeline_is_told_while_it_is_heard(server: Running) -> None:
    live = {"Accept": "text/event-stream"}
    query = {"timeline": "true", "hop": "0.25"}
    told = server.post("/v1/classify", wav("longer"), params=query, headers=live)
    assert told.headers["content-type"].startswith("text/event-stream")
    *segments, (name, last) = events(told.text)
    assert name == "result"
    assert {name for name, _ in segments} == {"segment"}
    whole = server.post("/v1/classify", wav("longer"), params=query).json()
    assert [data for _, data in segments] == whole["segments"]
    assert {**whole, "segments": None} == last


def test_what_goes_wrong_while_it_is_told_is_told(server: Running) -> None:
    live = {"Accept": "text/event-stream"}
    told = server.post("/v1/classify", b"no sound" * 100, headers=live)
    ((name, data),) = events(told.text)
    assert name == "error"
    assert data["status"] == 422
    assert data["error"]["type"] == "audio"
    assert data["error"]["request_id"] == told.headers["x-request-id"]
    error_of(server.post("/v1/classify", wav("short"), params={"top_k": 0}, headers=live),
             422, "options")  # fmt: skip


def test_many_clients_at_once_get_their_own_answers(
    server: Running, classifier: Classifier
) -> None:
    sounds = {seed: tiny.wav(tiny.clip(seed, 2000 + 997 * seed)) for seed in range(24)}
    found: dict[int, Any] = {}

    def ask(seed: int) -> None:
        found[seed] = server.client.post("/v1/classify", content=sounds[seed]).json()

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in sounds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, sound in sounds.items():
        same(found[seed]["predictions"], classifier.predict(sound))


@pytest.mark.parametrize(
    ("query", "kind", "words"),
    [
        ({"labels": ""}, None, ""),  # as none: the default
        ({"labels": "dog,dog"}, "labels", "listed twice"),
        ({"labels": "[1, 2]"}, "labels", "not a name"),
        ({"labels": "[[]]"}, "labels", "not a name"),
        ({"labels": "[]"}, "labels", "empty list"),
        ({"labels": "{}"}, "labels", "empty list"),
        ({"labels": "[" * 200}, "labels", "nested"),
        ({"labels": '{"a": {"b": "c"}}'}, "labels", "text"),
        ({"labels": '{"a": []}'}, "labels", "no text"),
        ({"labels": '{"a": 5}'}, "labels", "text"),
        ({"labels": "a", "bank": "default"}, "labels", "choose one"),
        ({"templates": "a {}"}, "labels", "come with them"),
        ({"labels": "a", "templates": "no slot"}, "labels", "exactly one {}"),
        ({"bank": "other"}, "bank", "no bank"),
        ({"bank": "../x"}, "bank", "name"),
        ({"windows": "nothing"}, "options", "windows"),
        ({"windows": "faithful"}, "options", "windows"),
        ({"hop": "1"}, "options", "timeline"),
        ({"hop": "1e-9", "timeline": "true"}, "options", "hop"),
        ({"scores": "multilabel"}, "options", "calibration"),
        ({"scores": "loud"}, "options", "scores"),
        ({"top_k": "0"}, "options", "top_k"),
        ({"threshold": "nan"}, "options", "threshold"),
        ({"unknown": "1"}, "options", "unknown"),
        ({"new[line]\n": "1"}, "options", "new["),
        ({"n" * 500: "1"}, "options", "nnn…"),
        ({"timeline": "perhaps"}, "options", "timeline"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_sentence(
    server: Running, query: dict[str, str], kind: str | None, words: str
) -> None:
    sound = wav("short")
    for answer in (
        server.post("/v1/classify", sound, params=query),
        server.client.post("/v1/classify", files={"file": sound}, data=query),
    ):
        if kind is None:
            assert answer.status_code == 200
        else:
            assert answer.status_code in (404, 422)
            assert words in error_of(answer, answer.status_code, kind)


def test_a_query_that_is_no_text_is_refused(server: Running) -> None:
    answer = server.post("/v1/classify?labels=%ff", wav("short"))
    assert "UTF-8" in error_of(answer, 422, "options")


def test_an_option_that_is_given_twice_is_refused(server: Running) -> None:
    files = {"file": wav("short")}
    for query, fields in (({"top_k": 1}, {"top_k": "2"}), ({}, {"top_k": ["1", "2"]})):
        answer = server.client.post("/v1/classify", params=query, files=files, data=fields)
        assert "given twice" in error_of(answer, 422, "options")


def test_answers_are_bounded(tiny_bundle: Path) -> None:
    limits = Limits(rows=10, predictions=20, texts=6, seconds=3.0, body=800_000)
    with running(tiny_bundle, limits=limits) as server:
        query = {"timeline": "true", "hop": "0.1"}
        text = error_of(server.post("/v1/classify", wav("long"), params=query), 413, "too_long")
        assert "6 windows of 3 labels" in text
        live = {"Accept": "text/event-stream"}
        told = server.post("/v1/classify", wav("long"), params=query, headers=live)
        assert events(told.text)[-1][0] == "result"
        query = {"labels": "a,b,c,d", "templates": ["x {}", "y {}"]}
        text = error_of(server.post("/v1/classify", wav("short"), params=query), 422, "labels")
        assert "8 texts" in text
        assert "3 s" in error_of(server.post("/v1/classify", wav("longer")), 413, "too_long")
        error_of(server.post("/v1/classify", b"x" * 800_001), 413, "too_large")


def test_without_labels_a_request_must_bring_some(tiny_bundle: Path) -> None:
    with running(tiny_bundle, labels=()) as server:
        text = error_of(server.post("/v1/classify", wav("short")), 422, "labels")
        assert "--labels" in text
        answer = server.post("/v1/classify", wav("short"), params={"labels": "dog,sea"})
        assert answer.status_code == 200
