"""Whoever reads the log, or does not, the service goes on."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from clap_export.serve.log import Beside, JsonLines, begin, say
from clap_export.serve.multipart import Form
from clap_export.serve.problems import Problem
from tests.clap_export.serve.running import PATIENCE, process


def record(event: str) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": event, "levelno": 20, "levelname": "INFO"})


def handler(descriptor: int, most: int = 8) -> Beside:
    made = Beside(descriptor, most)
    made.setFormatter(JsonLines())
    return made


def lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def test_what_cannot_be_written_is_dropped_and_counted() -> None:
    reading, writing = os.pipe()
    log, sent = handler(writing), 0
    began = time.monotonic()
    while sent < 5000:  # far more than a pipe and the queue hold
        log.emit(record("x" * 100))
        sent += 1
    log.finish(0.1)  # nobody reads: it does not wait for ever
    assert time.monotonic() - began < 60
    read, until_all = b"", threading.Event()

    def reader() -> None:
        nonlocal read
        while piece := os.read(reading, 1 << 16):
            read += piece
        until_all.set()

    threading.Thread(target=reader, daemon=True).start()
    log.finish(PATIENCE)
    log.emit(record("after"))
    log.finish(PATIENCE)
    os.dup2(os.open(os.devnull, os.O_WRONLY), writing)  # the end of the pipe
    assert until_all.wait(PATIENCE)
    found = lines(read)
    lost = [line["lines"] for line in found if line["event"] == "log dropped"]
    assert sum(line["event"] == "x" * 100 for line in found) + sum(lost) == sent
    assert sum(lost) > 1000
    assert found[-1]["event"] == "after"
    os.close(reading)
    os.close(writing)


def test_a_reader_who_is_gone_is_no_end() -> None:
    reading, writing = os.pipe()
    log = handler(writing)
    os.close(reading)
    log.emit(record("to nobody"))
    log.finish(PATIENCE)
    assert log._dropped == 1
    os.close(writing)


def test_what_libraries_say_of_a_request_stays_out(capfd: pytest.CaptureFixture[str]) -> None:
    """The parser of forms warns of bytes that it did not expect, and quotes them."""
    made = begin()
    with pytest.raises(Problem):
        Form("multipart/form-data; boundary=b", lambda _: None).write(b"--secret")
    say("ours")
    made.finish(PATIENCE)
    assert [line["event"] for line in lines(capfd.readouterr().err.encode())] == ["ours"]


def test_lines_come_in_order_and_whole() -> None:
    reading, writing = os.pipe()
    log = handler(writing, most=1000)
    for i in range(300):
        log.emit(record(str(i)))
    log.finish(PATIENCE)
    os.close(writing)
    with closing(os.fdopen(reading, "rb")) as file:
        assert [line["event"] for line in lines(file.read())] == [str(i) for i in range(300)]


@pytest.mark.skipif(sys.platform != "linux", reason="a pipe that is made small")
def test_a_server_whose_log_nobody_reads_answers_and_ends(tiny_bundle: Path) -> None:
    import fcntl

    with process(tiny_bundle) as (made, address):
        assert made.stderr is not None
        fcntl.fcntl(made.stderr, fcntl.F_SETPIPE_SZ, 4096)
        headers = {"X-Request-Id": "x" * 64}
        with httpx.Client(base_url=address, headers=headers, timeout=PATIENCE) as client:
            for _ in range(60):  # a line each of more than 200 bytes
                assert client.get("/v1/models").status_code == 200
            made.stderr.close()
            for _ in range(3):
                assert client.get("/v1/models").status_code == 200
        made.terminate()
        assert made.wait(PATIENCE) == 0
        made.stderr = None
