"""Whatever a client makes of the OpenAPI document, the answers are those that it promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.clap_export.serve.running import Running, running

schemathesis = pytest.importorskip("schemathesis")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")
PROMISED = (
    checks.status_code_conformance,
    checks.content_type_conformance, checks.response_schema_conformance,
    checks.response_headers_conformance,
)  # fmt: skip


OPERATIONS = [
    ("POST", "/v1/classify"), ("POST", "/v1/embed/audio"), ("POST", "/v1/embed/text"),
    ("POST", "/v1/embeddings"), ("GET", "/v1/models"),
    ("GET", "/v1/models/{model}"), ("GET", "/v1/banks"),
    ("GET", "/v1/banks/{name}"), ("POST", "/v1/banks/{name}"), ("DELETE", "/v1/banks/{name}"),
    ("GET", "/v1/space"), ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"),
]  # fmt: skip


@pytest.fixture(scope="module")
def writable(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("banks")
    with running(tiny_bundle, folder=folder, allow_banks=True) as made:
        yield made


@pytest.fixture(scope="module")
def api(writable: Running) -> Any:
    address = f"http://127.0.0.1:{writable.port}/openapi.json"
    return schemathesis.openapi.from_url(address)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_promises_are_kept(api: Any, writable: Running, method: str, path: str) -> None:
    # schemathesis' own plugin follows pytest's insides, and not every version of them.
    @settings(
        max_examples=12, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=api[path][method].as_strategy())
    def ask(case: Any) -> None:
        answer = case.call()
        case.validate_response(answer, checks=PROMISED)
        assert answer.status_code < 500 or answer.status_code == 504  # with a deadline of 1 ms
        assert "x-request-id" in answer.headers

    ask()


def test_every_endpoint_is_described(writable: Running) -> None:
    document = writable.client.get("/openapi.json").json()
    found = {(method.upper(), path) for path, ms in document["paths"].items() for method in ms}
    assert found == set(OPERATIONS)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation.get("summary"), (path, method)
            for status, answer in operation["responses"].items():
                assert status[0] in "245"
                assert answer.get("description")
