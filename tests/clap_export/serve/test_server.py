"""What a network brings: slow, broken and leaving clients, and crowds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from clap_export.serve.limits import Limits
from clap_export.serve.scheduler import FIRST, Plan
from clap_export.serve.service import Service
from tests.clap_export.serve.running import PATIENCE, Running, error_of, running, until
from tests.clap_export.serve.wire import answer_of, head, quiet, raw, whole
from tests.tiny import bundle as tiny

SOUND = tiny.wav(tiny.clip(1))
LONG = tiny.wav(tiny.clip(2, 60 * tiny.WINDOW))


def slowly(seconds: float) -> Callable[[Service], None]:
    """An engine that takes so long for a batch."""

    def change(service: Service) -> None:
        run = service.audio._run

        def slow(pieces: Any) -> Any:
            time.sleep(seconds)
            return run(pieces)

        service.audio._run = slow

    return change


class Steps:
    """An engine that ends a batch whenever the test lets it."""

    def __init__(self) -> None:
        self.begun: list[int] = []  # windows of each batch
        self._let, self._may_end = 0, threading.Semaphore(0)

    def __call__(self, service: Service) -> None:
        run = service.audio._run

        def step(pieces: Any) -> Any:
            self.begun.append(len(pieces))
            assert self._may_end.acquire(timeout=PATIENCE)
            return run(pieces)

        service.audio._run = step

    def let(self, count: int) -> None:
        self._let += count
        self._may_end.release(count)

    def settle(self) -> None:
        """Wait until the one lane has ended all that it may, and is held in the next batch."""
        until(lambda: len(self.begun) == self._let + 1)


def test_headers_that_do_not_come(tiny_bundle: Path) -> None:
    with running(tiny_bundle, limits=Limits(headers=0.3)) as server:
        for parts in ((), (b"POST /v1/cl",), (head(10)[:-2],)):
            began = time.monotonic()
            with raw(server, *parts) as made:
                assert answer_of(made) == b""
            assert 0.2 < time.monotonic() - began < PATIENCE
    # The first ones have time to come.
    with (
        running(tiny_bundle, limits=Limits(headers=3.0)) as server,
        raw(server, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") as made,
    ):
        assert b"200 OK" in whole(made)
        for _ in range(20):  # a byte now and then keeps nobody
            time.sleep(0.05)
            try:
                made.sendall(b"G")
            except OSError:
                break
        else:
            assert answer_of(made) == b""


def test_a_body_that_comes_too_slowly(tiny_bundle: Path) -> None:
    with running(tiny_bundle, limits=Limits(idle=0.2, upload=0.6)) as server:
        with raw(server, head(1000), b"RIFF") as made:
            assert b" 408 " in made.recv(65536)
        with raw(server, head(1000)) as made:
            made.settimeout(0.05)
            began, found = time.monotonic(), b""
            while not found and time.monotonic() - began < 30:  # all would take 50 s
                with suppress(OSError):  # it is answered already
                    made.sendall(b"x")
                with suppress(TimeoutError):
                    found = made.recv(65536)
            assert b" 408 " in found
        quiet(server)


def test_bodies_that_are_cut_leave_nothing(tiny_bundle: Path) -> None:
    form = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + SOUND
    kind = "Content-Type: multipart/form-data; boundary=b\r\n"
    with running(tiny_bundle, limits=Limits(memory=20_000)) as server:
        for parts in (
            (head(len(SOUND)), SOUND[:100]),
            (head(len(LONG)), LONG[:50_000]),
            (head(len(form), more=kind), form[:60]),
            (head(len(form), more=kind), form[:9000]),
            (b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
             b"ff\r\nxyz",),
            (head(50, "/v1/embed/text", "Content-Type: application/json\r\n"), b'{"texts": '),
        ):  # fmt: skip
            with raw(server, *parts):
                until(lambda: server.service.door.inside == 1)
            quiet(server)
        with raw(server, head(len(form), more=kind), form) as made:  # without its last boundary
            assert b" 400 " in made.recv(65536)
        quiet(server)
        assert server.post("/v1/classify", SOUND).status_code == 200


def test_a_body_that_is_too_large_is_refused_before_it_comes(tiny_bundle: Path) -> None:
    with running(tiny_bundle, limits=Limits(body=10_000)) as server:
        with raw(server, head(10_001)) as made:
            assert b" 413 " in made.recv(65536)
        chunks = iter([b"x" * 6000, b"x" * 6000, b"never"])
        error_of(server.post("/v1/classify", chunks), 413, "too_large")
        quiet(server)


def test_forms_that_are_none(server: Running) -> None:
    def post(body: bytes, kind: str = "multipart/form-data; boundary=b") -> httpx.Response:
        return server.post("/v1/classify", body, headers={"Content-Type": kind})

    part = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    for body in (
        b"", b"no form", b"--b--\r\n", part % (b"other", b"x") + b"--b--\r\n",
        part % (b"file", b"x") * 2 + b"--b--\r\n", b"--b\r\nX: y\r\n\r\nx\r\n--b--\r\n",
        part % (b"labels", b"\xff") + part % (b"file", b"x") + b"--b--\r\n",
        part % (b"labels", b"x" * (2 << 20)) + b"--b--\r\n",
        part % (b"a", b"x") * 200 + b"--b--\r\n",
    ):  # fmt: skip
        error_of(post(body), 400, "form")
    error_of(post(b"x", "multipart/form-data"), 400, "form")
    error_of(post(b"x", f"multipart/form-data; boundary={'b' * 1000}"), 400, "form")
    quiet(server)


@pytest.mark.parametrize("beginning", [b"", b'Content-Disposition: form-data; name="'])
def test_a_parts_header_has_an_end(server: Running, beginning: bytes) -> None:
    header = {"Content-Type": "multipart/form-data; boundary=b"}
    body = b"--b\r\n" + beginning + b"a" * 20_000
    error_of(server.post("/v1/classify", body, headers=header), 400, "form")
    quiet(server)


def test_a_client_that_leaves_ends_its_work(tiny_bundle: Path) -> None:
    for more in ("", "Accept: text/event-stream\r\n"):
        engine = Steps()
        with running(tiny_bundle, change=engine) as server:
            with raw(server, head(len(LONG), more=more), LONG):
                until(lambda server=server: server.service.audio.jobs == 1)
            quiet(server)  # though the engine is still at the first windows
            engine.let(60)
        assert sum(engine.begun) <= 2 * 4  # of 60 windows: a batch of each lane


def test_decoding_ends_too_when_the_client_leaves(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where all of a recording is decoded before its first window is known."""
    from runtime.audio.stream import Stream

    blocks, given = Stream.blocks, [0]

    def slow(self: Stream) -> Iterator[Any]:
        for block in blocks(self):
            for at in range(0, len(block), 8000):
                time.sleep(0.02)
                given[0] += 1
                yield block[at : at + 8000]

    monkeypatch.setattr(Stream, "blocks", slow)
    monkeypatch.setattr(Stream, "stretches", lambda _: None)  # as of a format without seeking
    with running(tiny_bundle) as server:
        headers = {"X-Deadline-Ms": "300"}
        for query in ("", "?windows=spaced:3", "?windows=middle"):
            refused = server.post(f"/v1/classify{query}", LONG, headers=headers)
            error_of(refused, 504, "deadline")
            quiet(server)
            before = given[0]
            time.sleep(0.1)
            assert given[0] == before


def test_a_deadline(tiny_bundle: Path) -> None:
    engine = Steps()
    with running(tiny_bundle, change=engine) as server:
        began = time.monotonic()
        headers = {"X-Deadline-Ms": "300"}
        error_of(server.post("/v1/classify", LONG, headers=headers), 504, "deadline")
        assert 0.25 < time.monotonic() - began < PATIENCE  # and not only when the engine is done
        # Time enough to come in: before its first event it is refused as any other.
        live = {"X-Deadline-Ms": "3000", "Accept": "text/event-stream"}
        told = server.post("/v1/classify", LONG, headers=live)
        assert '"status": 504' in told.text
        quiet(server)
        # A body that is still coming then.
        with raw(server, head(1000, more="X-Deadline-Ms: 200\r\n"), b"RIFF") as made:
            assert b" 504 " in made.recv(65536)
        for wrong in ("0", "-1", "soon", "1.5", "1" * 20, ""):
            refused = server.post("/v1/classify", SOUND, headers={"X-Deadline-Ms": wrong})
            error_of(refused, 422, "deadline")
        engine.let(60)
        fine = server.post("/v1/classify", SOUND, headers={"X-Deadline-Ms": "60000"})
        assert fine.status_code == 200


def test_a_crowd_is_told_when_to_come_again(tiny_bundle: Path) -> None:
    limits = Limits(requests=3)
    with running(tiny_bundle, limits=limits, change=slowly(0.05)) as server:
        for _ in range(3):
            server.post("/v1/classify", SOUND)
        with raw(server, head(10)), raw(server, head(10)), raw(server, head(10)):
            until(lambda: server.service.door.inside == 3)
            for path in ("/v1/classify", "/v1/embed/audio"):
                refused = server.post(path, SOUND)
                error_of(refused, 429, "busy")
                assert 1 <= int(refused.headers["retry-after"]) <= 600
            refused = server.client.post("/v1/embed/text", json={"texts": "a"})
            error_of(refused, 429, "busy")
            assert server.client.get("/healthz").status_code == 200
            assert server.client.get("/v1/space").status_code == 200
        quiet(server)
        assert server.post("/v1/classify", SOUND).status_code == 200
        text = server.client.get("/metrics").text
        assert "clap_rejected_total 3.0" in text


def test_long_ones_leave_room_for_short_ones(tiny_bundle: Path) -> None:
    """Four times as many long ones as there are places for them, and a short clip among them."""
    limits, plan = Limits(quick=2, long=1, requests=50), Plan(1, lanes=1, waiting=8)
    engine = Steps()
    with (
        running(tiny_bundle, limits=limits, plan=plan, change=engine) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        found: list[int] = []
        chunked = [LONG[i : i + 65536] for i in range(0, len(LONG), 65536)]

        def long() -> None:
            answer = server.client.post("/v1/classify", content=iter(chunked))
            found.append(answer.status_code)

        threads = [threading.Thread(target=long) for _ in range(6)]
        for thread in threads:
            thread.start()
        until(lambda: server.service.large.inside == 4 and found == [429] * 2)
        engine.let(FIRST + 2)  # until the one that is heard is no newcomer any more
        engine.settle()
        for _ in range(10):
            short = pool.submit(server.post, "/v1/classify", SOUND)
            until(lambda: bool(server.service.audio._first))
            # The batch that runs, a later window of another at most, and its own.
            engine.let(3)
            assert short.result(PATIENCE).status_code == 200
            engine.settle()
        assert server.service.large.inside == 4  # they are not through
        engine.let(1000)
        for thread in threads:
            thread.join()
        assert sorted(found) == [200] * 4 + [429] * 2


def test_small_files_that_are_long_wait_for_their_place(tiny_bundle: Path) -> None:
    limits = Limits(quick=2, long=1)
    with running(tiny_bundle, limits=limits, change=slowly(0.005)) as server:
        found: list[dict[str, Any]] = []
        length = {"Content-Length": str(len(LONG))}

        def ask() -> None:
            found.append(server.post("/v1/classify", LONG, headers=length).json())

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [answer["windows_heard"] for answer in found] == [60] * 4
        assert all(answer["predictions"] == found[0]["predictions"] for answer in found)
        quiet(server)


def test_an_engine_that_fails_is_said_to_and_comes_back(tiny_bundle: Path) -> None:
    from runtime.errors import BackendError

    with running(tiny_bundle) as server:
        run = server.service.audio._run

        def broken(pieces: Any) -> Any:
            raise BackendError("the GPU at /dev/secret has gone.")

        server.service.audio._run = broken
        assert "secret" not in error_of(server.post("/v1/classify", SOUND), 503, "engine")
        assert server.client.get("/readyz").status_code == 503
        server.service.audio._run = run
        assert server.post("/v1/classify", SOUND).status_code == 200
        assert server.client.get("/readyz").status_code == 200


def test_a_fault_of_ours_tells_no_more_than_its_id(tiny_bundle: Path) -> None:
    with running(tiny_bundle) as server:

        def broken(*_: Any) -> Any:
            raise RuntimeError("a secret")

        server.service.policy = broken  # type: ignore[method-assign]
        text = error_of(server.post("/v1/classify", SOUND), 500, "fault")
        assert "secret" not in text
        live = {"Accept": "text/event-stream"}
        told = server.post("/v1/classify", SOUND, headers=live).text
        assert '"status": 500' in told
        assert "secret" not in told
        quiet(server)


def test_counters(server: Running) -> None:
    server.post("/v1/classify", SOUND)
    text = server.client.get("/metrics").text
    for line in (
        'clap_requests_total{route="POST /v1/classify",status="200"}', "clap_open_requests 0.0",
        'clap_stage_seconds_count{stage="hear"}', 'clap_batch_windows_count{encoder="audio"}',
        'clap_engine{lanes="2",model="tiny",provider="cpu"} 1.0', "clap_queue_windows 0.0",
        "clap_memory_limit_bytes",
    ):  # fmt: skip
        assert line in text, line


# ------------------------------------------------------------------ the process
