"""What an address takes, and what is no HTTP."""

from __future__ import annotations

import logging

import httpx
import pytest

from tests.clap_export.serve.running import Running, error_of
from tests.clap_export.serve.wire import CHUNKED, answer_of, quiet, raw


def test_head_is_get_without_a_body(server: Running) -> None:
    for path in ("/healthz", "/readyz", "/", "/page/page.js", "/v1/space", "/metrics"):
        got, asked = server.client.get(path), server.client.head(path)
        assert (asked.status_code, asked.content) == (200, b""), path
        assert asked.headers["content-type"] == got.headers["content-type"]
        if path != "/metrics":  # which counts what was asked
            assert asked.headers["content-length"] == str(len(got.content)), path
    for path in ("/page/page.js", "/"):  # a part of it is never asked for, and parts are bounded
        part = server.client.get(path, headers={"Range": "bytes=5-1"})
        assert part.status_code == 200
    refused = server.client.head("/v1/classify")
    assert (refused.status_code, refused.content) == (405, b"")
    assert server.client.head("/nothing").status_code == 404
    asking = b"HEAD /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with raw(server, asking) as made:
        assert answer_of(made).endswith(b"\r\n\r\n")


def test_what_an_address_takes_is_said(server: Running) -> None:
    for method, path, allowed in (
        ("PUT", "/v1/banks/a", "DELETE, GET, HEAD, POST"), ("OPTIONS", "/v1/classify", "POST"),
        ("POST", "/openapi.json", "GET, HEAD"), ("DELETE", "/", "GET, HEAD"),
    ):  # fmt: skip
        answer = server.client.request(method, path)
        assert f"takes {allowed} alone" in error_of(answer, 405, "method")
        assert answer.headers["allow"] == allowed
    assert "/openapi.json" in error_of(server.client.get("/v1/spaces"), 404, "missing")


@pytest.mark.parametrize(
    "sent",
    [
        b"NONSENSE\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: x\r\n\r\n",
        b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        CHUNKED % b"localhost" + b"zz\r\n",
    ],
    ids=range(5),
)  # fmt: skip
def test_what_is_no_http(server: Running, sent: bytes) -> None:
    with raw(server, sent) as made:
        head, _, body = answer_of(made).partition(b"\r\n\r\n")
    lines = head.decode("ascii").split("\r\n")
    assert lines[0] == "HTTP/1.1 400 Bad Request"
    headers = [line.split(": ", 1) for line in lines[1:]]
    error_of(httpx.Response(400, headers=headers, content=body), 400, "http")
    quiet(server)


def test_nonsense_behind_an_answer_ends_the_connection(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    with raw(server, CHUNKED % b"x") as made:
        assert b"403 Forbidden" in made.recv(65536)
        made.sendall(b"zz\r\n")
        answer_of(made)  # to its end, and no error of asyncio's
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []
