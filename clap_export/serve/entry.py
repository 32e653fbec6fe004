"""The way in and out of every request: its id, its line in the log, its numbers, and the headers
that keep browsers safe."""

from __future__ import annotations

import itertools
import re
import secrets
from time import monotonic
from typing import Any

from anyio import fail_after
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clap_export.serve.gate import refuse
from clap_export.serve.log import log_fault, say
from clap_export.serve.problems import FAULT, MISSING
from clap_export.serve.receiving import Gone
from clap_export.serve.service import Service

_ids = itertools.count()
_started = secrets.token_hex(4)  # an id is unique, also beside those of other servers
ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
CSP = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "object-src 'none'; media-src 'self' blob:"  # the player has what the browser itself holds
)
SAFE = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
}
RAW = [(name.encode(), value.encode()) for name, value in SAFE.items()]
CLIENT_LEFT = 499  # as nginx has it; nobody reads it
BEGINNINGS = ("http.response.start", "websocket.http.response.start")
PIECES = ("http.response.body", "websocket.http.response.body")


def new_id() -> str:
    """Of a request that brings none."""
    return f"{_started}{next(_ids):08x}"


class Entry:
    """The outermost middleware.

    Args:
        app: behind it.
        service: whose limits and metrics are used.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        passing = _Passing(scope, send, self._service.limits.idle)
        if scope.get("method") == "HEAD":  # it is what GET would answer, without the body
            scope = {**scope, "method": "GET"}
        began = monotonic()
        try:
            await self._app(scope, receive, passing.send)
        except Gone:
            passing.status = CLIENT_LEFT
        except TimeoutError:
            passing.status = CLIENT_LEFT  # it takes no answer
        except Exception as error:
            log_fault(passing.id, error)
            if passing.status:
                raise
            await refuse(FAULT, scope, passing.send)
        finally:
            self._note(scope, passing, monotonic() - began)

    def _note(self, scope: Scope, passing: _Passing, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        method = passing.method
        status = passing.status or CLIENT_LEFT
        metrics = self._service.metrics
        metrics.requests.labels(f"{method} {route}", status).inc()
        metrics.seconds.labels(f"{method} {route}").observe(seconds)
        if status == 429:
            metrics.rejected.inc()
        if route not in ("/healthz", "/readyz", "/metrics"):
            say(
                "request", id=passing.id, method=method, route=route, status=status,
                seconds=round(seconds, 4), bytes=passing.bytes,
            )  # fmt: skip


class _Passing:
    """A request on its way."""

    def __init__(self, scope: Scope, send: Send, patience: float) -> None:
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        self.id = given if ID.fullmatch(given) else new_id()
        scope.setdefault("state", {})["request_id"] = self.id
        self.status, self.bytes = 0, 0
        self._scope, self._send, self._patience = scope, send, patience
        self.method: str = scope.get("method", "WS")

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind in BEGINNINGS:
            self.status = message["status"]
            headers: list[Any] = [*message.get("headers", []), *RAW]
            headers.append((b"x-request-id", self.id.encode()))
            if not any(name == b"cache-control" for name, _ in headers):
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": headers}
        elif kind in PIECES:
            if self.method == "HEAD":
                message = {**message, "body": b""}
            self.bytes += len(message.get("body", b""))
        elif kind == "websocket.accept":
            self.status = 101
        elif kind == "websocket.close" and not self.status:  # no route has opened it
            await refuse(MISSING, self._scope, self.send)
            return
        # A client that takes no answer must not hold a place for ever.
        with fail_after(self._patience):
            await self._send(message)
