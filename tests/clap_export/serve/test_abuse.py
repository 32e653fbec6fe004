"""Ten thousand bad requests: none is a fault, and nothing grows or is left."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from clap_export.serve.limits import Limits
from clap_export.serve.service import TEXT_THREADS
from tests.clap_export.serve.running import PATIENCE, open_requests, process, until
from tests.tiny import bundle as tiny

REQUESTS, CLIENTS, WARM = 10_000, 4, 1000
GROWTH = 32 << 20  # bytes
# Of its pools, which start them as they are needed.
THREADS = Limits().quick + Limits().long + TEXT_THREADS
FINE = tiny.wav(tiny.clip(1))
WORDS = [
    "",
    "dog",
    "[",
    "{}",
    "nan",
    "1e999",
    "-1",
    "\U0001f600",
    "a" * 5000,
    "true",
    "\x00",
    "%",
]


def bad(rng: random.Random, client: httpx.Client, port: int) -> int | None:
    """One request; its status, if it has one."""

    def sound() -> bytes:
        data = bytearray(FINE)
        for _ in range(rng.randint(1, 40)):  # most of them in the header
            data[rng.choice((rng.randrange(60), rng.randrange(len(data))))] = rng.randrange(256)
        return bytes(data[: rng.choice((len(data), rng.randrange(1, len(data)))) or 1])

    def noise() -> bytes:
        return rng.randbytes(rng.choice((0, 1, 7, 300, 20_000)))

    names = ("labels", "bank", "templates", "scores", "top_k", "hop", "windows", "timeline", "x")
    query = {rng.choice(names): rng.choice(WORDS) for _ in range(rng.randint(0, 3))}

    def cut() -> None:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as made:
            head = f"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(FINE)}"
            made.sendall(rng.choice((head.encode(), head.encode() + b"\r\n\r\n" + FINE[:999])))

    def garbage() -> None:
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as made, suppress(OSError):
            made.sendall(noise() + b"\r\n\r\n")
            made.settimeout(0.5)
            made.recv(999)

    kinds: list[Callable[[], httpx.Response | None]] = [
        lambda: client.post("/v1/classify", content=sound(), params=query),
        lambda: client.post("/v1/classify", content=noise()),
        lambda: client.post("/v1/classify", files={"file": sound()}, data=query),
        lambda: client.post(
            "/v1/embed/audio", content=noise(),
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        ),
        lambda: client.post(
            "/v1/embed/text", content=noise(), headers={"Content-Type": "application/json"}
        ),
        lambda: client.post("/v1/embeddings", json={"input": rng.choice(WORDS), "model": "tiny"}),
        lambda: client.request(
            rng.choice(("PUT", "DELETE", "GET")), f"/v1/banks/{noise().hex()[:80]}"
        ),
        lambda: client.get("/" + noise().hex()[:300]),
        lambda: client.post("/v1/classify", content=FINE, headers={"X-Deadline-Ms": "1"}),
        lambda: client.post(
            "/v1/classify", content=sound(), headers={"Accept": "text/event-stream"}
        ),
        cut,
        garbage,
    ]  # fmt: skip
    answer = rng.choice(kinds)()
    return None if answer is None else answer.status_code


@pytest.mark.slow
def test_ten_thousand_bad_requests(tiny_bundle: Path, tmp_path: Path) -> None:
    found: Counter[int | None] = Counter()
    with process(tiny_bundle, "--labels", "dog,rain,sea") as (made, address):
        # Its log must go somewhere, or it waits.
        assert made.stderr is not None
        log: list[str] = []
        threading.Thread(target=lambda: log.extend(made.stderr or ()), daemon=True).start()
        port, looked = int(address.rpartition(":")[2]), psutil.Process(made.pid)

        def ask(seed: int, count: int) -> None:
            rng = random.Random(seed)
            with httpx.Client(base_url=address, timeout=PATIENCE) as client:
                for _ in range(count):
                    found[bad(rng, client, port)] += 1

        def crowd(seed: int, count: int) -> None:
            threads = [
                threading.Thread(target=ask, args=(seed + i, count // CLIENTS))
                for i in range(CLIENTS)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        def state() -> tuple[int, int, int]:
            until(lambda: open_requests(address) == 0)
            time.sleep(1.0)  # connections of clients that have left are closed a moment later
            return looked.memory_info().rss, looked.num_fds(), looked.num_threads()

        crowd(0, WARM)
        before = state()
        crowd(1000, REQUESTS - WARM)
        after = state()
        with suppress(AssertionError):  # said below
            until(lambda: looked.num_fds() <= before[1] + 2)
            after = (after[0], looked.num_fds(), after[2])
        print(f"statuses {dict(found)}; memory, files, threads {before} -> {after}")
        fine = httpx.post(f"{address}/v1/classify", content=FINE, timeout=PATIENCE)
        assert fine.status_code == 200
        text = httpx.get(f"{address}/metrics", timeout=PATIENCE).text
    assert sum(found.values()) == REQUESTS
    assert not {status for status in found if status is not None and status in (500, 502, 503)}
    assert {200, 404, 405, 415, 422, 400} - {415} <= set(found)
    assert after[0] - before[0] < GROWTH
    assert after[1] <= before[1] + 2  # of clients that have just left
    assert after[2] <= before[2] + THREADS
    assert "clap_open_requests 0.0" in text
    assert not [line for line in log if '"fault"' in line or "Traceback" in line]
