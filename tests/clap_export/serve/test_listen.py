"""A stream over a WebSocket is heard as the runtime's Listener hears it."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from clap_export.serve.limits import Limits
from runtime import Classifier, Events, Listener, Rule
from runtime.schema import to_plain
from tests.clap_export.serve.running import PATIENCE, Running, running, until
from tests.tiny import bundle as tiny

RATE = 22_050
SAMPLES = (tiny.clip(3, round(6.3 * RATE)) * 32767).astype("<i2")


@contextmanager
def socket(server: Running, **options: Any) -> Iterator[ClientConnection]:
    headers = options.pop("headers", {})
    address = f"ws://127.0.0.1:{server.port}/v1/listen"
    with connect(address, additional_headers=headers, max_queue=None) as made:
        if options:
            with suppress(ConnectionClosed):  # a server that is full says so at once
                made.send(json.dumps(options))
        yield made


def messages(made: ClientConnection) -> list[dict[str, Any]]:
    """All until the end."""
    found = []
    try:
        while True:
            found.append(json.loads(made.recv(PATIENCE)))
    except ConnectionClosed:
        return found


def send(made: ClientConnection, samples: np.ndarray, size: int) -> None:
    for at in range(0, len(samples), size):
        made.send(samples[at : at + size].tobytes())
    made.send(json.dumps({"type": "end"}))


def of(found: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in m.items() if k != "type"} for m in found if m["type"] == kind]


@pytest.mark.parametrize("size", [501, 30_000, len(SAMPLES)])
def test_segments_and_events_are_the_listeners(
    server: Running, tiny_bundle: Path, size: int
) -> None:
    rule = {"on": 0.21, "off": 0.2, "minimum": 0.3, "gap": 0.4}
    with socket(server, rate=RATE, hop=0.25, rule=rule, smooth=3) as made:
        send(made, SAMPLES, size)
        found = messages(made)
    with Classifier(tiny_bundle, tiny.LABELS, threads=1) as classifier:
        listener = Listener(classifier, RATE, hop=0.25)
        segments = listener.feed(SAMPLES) + listener.flush()
    events = Events(Rule(**rule), smooth=3)
    wanted = [event for segment in segments for event in events.push(segment)] + events.finish()
    assert found[0] == {"type": "listening", "labels": list(tiny.LABELS)}
    assert len(of(found, "segment")) == len(segments)
    for segment, other in zip(of(found, "segment"), to_plain(segments), strict=True):
        assert (segment["start"], segment["end"]) == (other["start"], other["end"])
        for p, q in zip(segment["predictions"], other["predictions"], strict=True):
            assert p["label"] == q["label"]
            assert p["score"] == pytest.approx(q["score"], abs=1e-6)
    keys = ("label", "phase", "start", "end")
    assert [[e[k] for k in keys] for e in of(found, "event")] == [
        [getattr(e, k) for k in keys] for e in wanted
    ]
    assert wanted
    assert found[-1]["type"] == "end"
    assert found[-1]["seconds"] == pytest.approx(len(SAMPLES) / RATE)
    assert found[-1]["events"] == sum(e.phase == "ended" for e in wanted)


def test_stereo_floats_a_gate_and_fewer_labels(server: Running, tiny_bundle: Path) -> None:
    stereo = np.stack([tiny.clip(1, 40_000), np.zeros(40_000, np.float32)], 1).astype("<f4")
    stereo[16_000:] = 0.0
    options = {"rate": 16_000, "channels": 2, "dtype": "f32le", "gate": -60, "top_k": 2}
    with socket(server, labels={"a": "dog", "b": "the sea", "c": "rain"}, **options) as made:
        send(made, stereo, 1600)
        found = messages(made)
    labels = {"a": "dog", "b": "the sea", "c": "rain"}
    with Classifier(tiny_bundle, labels, threads=1) as classifier:
        listener = Listener(classifier, 16_000, gate=-60.0, top_k=2)
        wanted = listener.feed(stereo.T) + listener.flush()
    assert [len(s["predictions"]) for s in of(found, "segment")] == [
        len(s.predictions) for s in wanted
    ]
    assert found[-1]["silent"] == listener.counts.silent > 0


def test_labels_are_exchanged_and_gaps_are_told(server: Running) -> None:
    second = SAMPLES[:RATE].tobytes()
    with socket(server, rate=RATE, hop=1, labels=["dog", "rain"]) as made:
        made.send(second)
        while json.loads(made.recv(PATIENCE))["type"] != "segment":
            pass
        made.send(json.dumps({"type": "labels", "labels": ["sea", "wind", "bell"]}))
        made.send(json.dumps({"type": "gap", "seconds": 30}))
        made.send(second)
        made.send(json.dumps({"type": "end"}))
        found = messages(made)
    assert of(found, "gap") == [{"start": 1.0, "seconds": 30.0}]
    last = of(found, "segment")[-1]
    assert {p["label"] for p in last["predictions"]} == {"sea", "wind", "bell"}
    assert last["end"] == pytest.approx(32.0)
    assert found[-1]["missing"] == pytest.approx(30.0)


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        ("no json", "json"),
        ("[]", "json"),
        ("{}", "options"),
        ({"rate": 0}, "options"),
        ({"rate": 48_000, "channels": 32}, "options"),
        ({"rate": 16_000, "hop": 0}, "options"),
        ({"rate": 16_000, "other": 1}, "options"),
        ({"rate": 16_000, "labels": ["a", "a"]}, "labels"),
        ({"rate": 16_000, "bank": "none"}, "bank"),
        ({"rate": 16_000, "rule": {"on": 0.1, "off": 0.2}}, "options"),
        ({"rate": 16_000, "scores": "multilabel"}, "options"),
        ({"rate": 16_000, "smooth": 2}, "options"),
    ],
)
def test_a_first_message_that_cannot_be_used(server: Running, first: Any, kind: str) -> None:
    with socket(server) as made:
        made.send(first if isinstance(first, str) else json.dumps(first))
        (found,) = messages(made)
    assert (found["type"], found["error"]["type"]) == ("error", kind)
    assert made.close_code == 1008


@pytest.mark.parametrize("field", ["rules", "only"])
def test_a_label_that_is_not_listened_for_is_named(server: Running, field: str) -> None:
    named = {"rules": {"dgo": {"on": 0.9}}, "only": ["dgo"]}[field]
    with socket(server, rate=RATE, labels=["dog", "rain"], **{field: named}) as made:
        [error] = messages(made)
    assert (error["type"], error["status"]) == ("error", 422)
    assert error["error"]["message"] == f"{field}: 'dgo': not among the labels of the stream."


def test_what_two_fields_make_together_is_named(server: Running) -> None:
    with socket(server, rate=48_000, channels=32) as made:
        (found,) = messages(made)
    assert found["error"]["message"] == "rate times channels is at most 384000."


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (b"\0", "samples"),
        (np.array([np.nan, 1], "<f4").tobytes(), "audio"),
        ("{", "json"),
        ('{"type": "other"}', "message"),
        ('{"type": ["gap"]}', "message"),
        ('{"type": "gap"}', "options"),
        ('{"type": "gap", "seconds": -1}', "options"),
        ('{"type": "gap", "seconds": NaN}', "options"),
        ('{"type": "gap", "seconds": 1e9}', "options"),
        ('{"type": "gap", "seconds": 1, "second": 1}', "options"),
        ('{"type": "end", "now": true}', "options"),
        ('{"type": "labels", "labels": []}', "options"),
        ('{"type": "labels", "labels": ["", "a"]}', "labels"),
    ],
)
def test_what_comes_later_and_cannot_be_used(server: Running, message: Any, kind: str) -> None:
    with socket(server, rate=16_000, dtype="f32le") as made:
        made.send(np.zeros(8000, "<f4").tobytes())
        made.send(message)
        found = messages(made)
    assert found[-1]["type"] == "error"
    assert found[-1]["error"]["type"] == kind
    assert server.client.get("/readyz").status_code == 200


def test_a_stream_that_does_not_wait_drops_and_says_so(tiny_bundle: Path) -> None:
    with running(tiny_bundle) as server:
        run, all_sent = server.service.audio._run, threading.Event()

        def waiting(pieces: Any) -> Any:
            assert all_sent.wait(PATIENCE)
            return run(pieces)

        server.service.audio._run = waiting
        with socket(server, rate=16_000, hop=0.1, backlog=1.0, segments=False) as made:
            for _ in range(200):
                made.send(np.zeros(1600, "<i2").tobytes())
            made.send(json.dumps({"type": "end"}))
            until(lambda: any(backlog._ended for backlog in server.service.backlogs))
            all_sent.set()
            found = messages(made)
    assert found[-1]["type"] == "end"
    assert found[-1]["dropped"] > 15
    assert found[-1]["seconds"] == pytest.approx(20.0, abs=0.11)
    assert sum(m["seconds"] for m in of(found, "gap")) == pytest.approx(found[-1]["dropped"])


def test_streams_are_counted_and_leave_nothing(tiny_bundle: Path) -> None:
    with running(tiny_bundle, limits=Limits(listeners=2)) as server:
        with (
            socket(server, rate=16_000) as a,
            socket(server, rate=16_000) as b,
        ):
            a.recv(PATIENCE), b.recv(PATIENCE)
            with socket(server, rate=16_000) as made:
                (found,) = messages(made)
            assert found["status"] == 429
            assert made.close_code == 1013
        until(lambda: server.service.streams.inside == 0)
        assert not server.service.backlogs
        assert server.service.audio.jobs == 0
        with socket(server, rate=16_000) as made:
            assert json.loads(made.recv(PATIENCE))["type"] == "listening"


def test_a_silent_stream_is_ended(tiny_bundle: Path) -> None:
    with running(tiny_bundle, limits=Limits(silence=0.2, idle=0.3)) as server:
        with socket(server, rate=16_000) as made:
            assert messages(made)[-1]["error"]["type"] == "slow"
        with socket(server) as made:  # not even a first message
            assert messages(made)[-1]["error"]["type"] == "slow"


def test_who_may_listen(tiny_bundle: Path) -> None:
    key = "0123456789abcdef"
    with running(tiny_bundle, keys=(key,)) as server:
        with socket(server, rate=16_000) as made:
            assert messages(made)[-1]["error"]["type"] == "key"
        with socket(server, rate=16_000, key="x" * 16) as made:
            assert messages(made)[-1]["error"]["type"] == "key"
        for options in ({"key": key}, {"headers": {"Authorization": f"Bearer {key}"}}):
            with socket(server, rate=16_000, **options) as made:
                assert json.loads(made.recv(PATIENCE))["type"] == "listening"
        for headers in (
            {"Authorization": "Bearer wrong"},
            {"Authorization": f"Bearer {key}", "Origin": "https://elsewhere.example"},
        ):
            with pytest.raises(InvalidStatus), socket(server, headers=headers):
                pass


def test_the_servers_end_ends_a_stream_with_what_it_has_heard(tiny_bundle: Path) -> None:
    with running(tiny_bundle) as server, socket(server, rate=16_000, hop=0.5) as made:
        made.send(np.zeros(20_000, "<i2").tobytes())
        while json.loads(made.recv(PATIENCE))["type"] != "segment":
            pass
        server.server.should_exit = True
        found = messages(made)
        assert found[-1]["type"] == "end"
        assert found[-1]["seconds"] == pytest.approx(1.25)
        assert made.close_code == 1001


def test_a_client_that_leaves_is_no_fault(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is printed of it, though what is heard can be told to nobody."""
    for count in (0, 3 * RATE):
        with socket(server, rate=RATE) as made:
            assert json.loads(made.recv(PATIENCE))["type"] == "listening"
            if count:
                made.send(SAMPLES[:count].tobytes())
        until(lambda: not server.service.backlogs)
        until(lambda: not server.service.streams.inside)
    gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []
