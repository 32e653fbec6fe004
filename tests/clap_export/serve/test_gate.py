"""Who may ask: keys, names of the server, other sites' pages; and what browsers are told."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import httpx
import pytest
from starlette.datastructures import Headers

from clap_export.serve.gate import Access
from clap_export.serve.keys import Keys
from runtime.errors import ClapError
from tests.clap_export.serve.running import PATIENCE, Running, error_of, running, until
from tests.tiny import bundle as tiny

KEYS = ("first-key-0123456789", "second-key-0123456789")
ORIGIN = "https://app.example"
UPGRADE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
}  # fmt: skip


def test_a_key_is_needed_for_all_but_health_and_the_page(tiny_bundle: Path) -> None:
    with running(tiny_bundle, keys=KEYS) as server, httpx.Client(timeout=PATIENCE) as bare:
        address = f"http://127.0.0.1:{server.port}"
        paths = server.client.get("/openapi.json").json()["paths"]
        for path, methods in paths.items():
            for method in methods:
                answer = bare.request(method, address + path.replace("{name}", "a"))
                if path in ("/healthz", "/readyz"):
                    assert answer.status_code == 200
                else:
                    error_of(answer, 401, "key")
                    assert answer.headers["www-authenticate"] == "Bearer"
        for path in ("/", "/page/page.js"):
            assert bare.get(address + path).status_code == 200
        for headers in (
            {"Authorization": f"Bearer {KEYS[1]}"},
            {"authorization": f"bearer {KEYS[0]}"},
            {"X-API-Key": KEYS[1]},
        ):
            assert bare.get(f"{address}/v1/space", headers=headers).status_code == 200
        for headers in (
            {"Authorization": f"Basic {KEYS[0]}"},
            {"Authorization": KEYS[0]},
            {"Authorization": f"Bearer {KEYS[0]}x"},
            {"Authorization": f"Bearer {KEYS[0][:-1]}"},
            {"X-API-Key": ""},
        ):
            error_of(bare.get(f"{address}/v1/space", headers=headers), 401, "key")
        # Before a byte of the body is read.
        answer = bare.post(f"{address}/v1/classify", content=b"x" * 1000)
        error_of(answer, 401, "key")


def test_a_file_of_keys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# of two people\n{KEYS[0]}\n\n  {KEYS[1]}  \n")
    path.chmod(0o600)
    keys = Keys.read(path)
    assert keys.fit(KEYS[0].encode())
    assert keys.fit(KEYS[1].encode())
    assert not keys.fit(b"# of two people")
    assert not keys.fit(b"")
    assert not caplog.records
    if os.name == "posix":
        path.chmod(0o640)
        with caplog.at_level(logging.WARNING, "clap_export.serve"):
            Keys.read(path)
        assert "chmod 600" in caplog.text
    for data in (f"{KEYS[0]}\r\n{KEYS[1]}\r\n".encode(), f"\ufeff{KEYS[0]}".encode()):
        path.write_bytes(data)
        assert Keys.read(path).fit(KEYS[0].encode())
    for data, said in (
        (b"", "no key"), (b"# nothing\n", "no key"), (b"short\n", "less than 16"),
        ("schlüssel-schlüssel-schlüssel".encode(), "ASCII"), (KEYS[0].encode("utf-16"), "ASCII"),
        (b"a key of several words", "spaces"), (KEYS[0].encode() + b"\0", "control"),
        (b"0123456789abcdef\n" * 5000, "at most"),
    ):  # fmt: skip
        path.write_bytes(data)
        with pytest.raises(ClapError, match=said):
            Keys.read(path)
    with pytest.raises(ClapError, match="does not exist"):
        Keys.read(tmp_path / "none")


def test_other_sites_pages_may_not_ask_unless_they_are_named(tiny_bundle: Path) -> None:
    with running(tiny_bundle, origins=(ORIGIN,)) as server:
        own = f"http://127.0.0.1:{server.port}"
        for origin in (
            "https://elsewhere.example",
            "null",
            f"{ORIGIN}.example",
            "http://127.0.0.1",
        ):
            answer = server.client.get("/v1/space", headers={"Origin": origin})
            error_of(answer, 403, "origin")
            assert "access-control-allow-origin" not in answer.headers
        assert server.client.get("/v1/space", headers={"Origin": own}).status_code == 200
        answer = server.client.get("/v1/space", headers={"Origin": ORIGIN})
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        asked = {
            "Origin": ORIGIN, "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        }  # fmt: skip
        answer = server.client.options("/v1/classify", headers=asked)
        assert answer.status_code == 200
        assert "authorization" in answer.headers["access-control-allow-headers"].lower()
        answer = server.client.options("/v1/classify", headers={**asked, "Origin": "https://x"})
        error_of(answer, 403, "origin")
        answer = server.client.options("/v1/classify", headers={**asked, "Host": "x.example"})
        error_of(answer, 403, "host")
    with running(tiny_bundle) as server:
        answer = server.client.options("/v1/classify", headers=asked)
        error_of(answer, 403, "origin")


def test_an_origin_is_written_as_browsers_send_it() -> None:
    access = Access.of("127.0.0.1", Keys(), ["HTTPS://App.example:8443"])
    access.check_source({}, Headers({"host": "localhost", "origin": "https://app.example:8443"}))
    for text in (
        "*",
        "app.example",
        "https://",
        "https://app.example/",
        "https://*.example",
        "null",
    ):
        with pytest.raises(ClapError, match="is no origin"):
            Access.of("127.0.0.1", Keys(), [text])


def test_a_stream_that_is_not_opened_is_refused_with_a_document(tiny_bundle: Path) -> None:
    with running(tiny_bundle, keys=KEYS) as server:
        for path, headers, status, kind in (
            ("/v1/listen", {"Authorization": "Bearer x"}, 401, "key"),
            ("/v1/listen", {"Origin": "https://x.example"}, 403, "origin"),
            ("/v1/space", {"X-API-Key": KEYS[0]}, 404, "missing"),
        ):
            address = f"http://127.0.0.1:{server.port}{path}"
            error_of(httpx.get(address, headers={**UPGRADE, **headers}), status, kind)


def test_a_server_of_this_machine_is_asked_by_its_names_alone(server: Running) -> None:
    for name in ("localhost", "127.0.0.1:1", "[::1]:80", "LOCALHOST"):
        assert server.client.get("/healthz", headers={"Host": name}).status_code == 200
    for name in ("rebound.example", "", "localhost.example", "127.0.0.1.example:80"):
        error_of(server.client.get("/healthz", headers={"Host": name}), 403, "host")
    assert Access.of("0.0.0.0", Keys()).hosts is None
    named = Access.of("0.0.0.0", Keys(), names=["A.example", "b.example:80"])
    for host in ("a.example:8000", "B.EXAMPLE"):
        named.check_source({}, Headers({"host": host}))
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        assert Access.of(host, Keys()).hosts is not None


def test_every_answer_has_an_id_and_is_safe_in_a_browser(server: Running) -> None:
    for answer in (
        server.client.get("/"),
        server.client.get("/v1/space"),
        server.client.get("/nothing"),
        server.client.get("/healthz", headers={"Host": "x"}),
        server.post("/v1/classify", b"x"),
    ):
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert len(answer.headers["x-request-id"]) == 16
        assert "server" not in answer.headers
    given = server.client.get("/healthz", headers={"X-Request-Id": "my-id.7"})
    assert given.headers["x-request-id"] == "my-id.7"
    for bad in ("a b", "x" * 65, '"}', ""):
        answer = server.client.get("/healthz", headers={"X-Request-Id": bad})
        assert answer.headers["x-request-id"] != bad


def test_the_page_fetches_nothing_and_gives_no_other_file(server: Running) -> None:
    text = server.client.get("/").text
    assert "://" not in text
    for name in ("..%2f__init__.py", "%2e%2e", "app.py", "index.html%00", "..%5capp.py"):
        assert server.client.get(f"/page/{name}").status_code == 404
    for name in ("index.html", "page.js", "page.css"):
        answer = server.client.get(f"/page/{name}")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-cache"


def test_the_log_has_no_content(
    server: Running, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "a-secret-label"
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "clap_export.serve"):
        sound = tiny.wav(tiny.clip(1))
        files = {"file": ("secret-name.wav", sound)}
        answers = (
            server.client.post("/v1/classify", files=files, data={"labels": f"{secret},b"}),
            server.client.post("/v1/embed/text", json={"texts": [secret]}),
            server.client.get(f"/v1/banks/{secret}"),
            server.client.get(f"/{secret}?{secret}"),
        )
        ids = {answer.headers["x-request-id"] for answer in answers}
        # An answer goes out before its line is written; so does that of the test before.
        until(lambda: ids <= {r.fields["id"] for r in caplog.records if r.msg == "request"})
    ours = [r for r in caplog.records if r.name.startswith(("clap_export", "uvicorn"))]
    for record in ours:
        assert "secret" not in f"{record.getMessage()} {getattr(record, 'fields', '')}"
