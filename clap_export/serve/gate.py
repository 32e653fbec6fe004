"""Who may ask: the right name of the server, no stranger's web page, and a key if there are any."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from clap_export.serve.keys import Keys
from clap_export.serve.problems import Problem
from runtime.errors import ClapError

OPEN = ("/", "/healthz", "/readyz", "/favicon.ico")  # and the page's files
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@*]+")


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        keys: of which one is needed, if there are any.
        origins: of other sites whose pages may ask (CORS).
        hosts: names that the server may be asked by; None for any.
    """

    keys: Keys = field(default_factory=Keys)
    origins: tuple[str, ...] = ()
    hosts: frozenset[str] | None = None

    @classmethod
    def of(
        cls, host: str, keys: Keys, origins: Collection[str] = (), names: Collection[str] = ()
    ) -> Access:
        """For a server that is bound to an address.

        One that only this machine reaches is asked only by names of this machine: a stranger's page
        may have its own name lead here (DNS rebinding).

        Raises:
            ClapError: one of ``origins`` is none.
        """
        known = {*LOOPBACK, *(_name_of(name) for name in (host, *names))}
        hosts = frozenset(known) if _is_loopback(host) or names else None
        return cls(keys, tuple(map(_origin, origins)), hosts)

    def check(self, scope: Scope, headers: Headers) -> None:
        """Look for the key of a request.

        Raises:
            Problem: 401.
        """
        path: str = scope["path"]
        if not self.keys.wanted or path in OPEN or path.startswith("/page/"):
            return
        if scope["type"] == "websocket" and key_of(headers) is None:
            return  # a browser cannot send it here: it comes in the first message
        self.check_key(key_of(headers))

    def check_source(self, _: Scope, headers: Headers) -> None:
        """By which name, and from whose page, the server is asked.

        Raises:
            Problem: 403.
        """
        host = headers.get("host", "")
        if self.hosts is not None and _name_of(host) not in self.hosts:
            raise Problem(
                403, "host", "this server is not asked by this name: start it with --allow-host "
                "NAME, or ask for it by its address.",
            )  # fmt: skip
        origin = headers.get("origin")
        if origin is None or origin in self.origins:
            return
        if origin.partition("://")[2] != host:
            raise Problem(
                403, "origin", "pages of other sites may not ask this server: start it with "
                "--cors-origin ORIGIN.",
            )  # fmt: skip

    def check_key(self, key: bytes | None) -> None:
        """Whether a key is one of ours.

        Raises:
            Problem: 401.
        """
        if self.keys.wanted and (key is None or not self.keys.fit(key)):
            raise Problem(401, "key", "send a key of this server, as Authorization: Bearer KEY.")


class Gate:
    """A middleware.

    Args:
        app: behind it.
        check: looks at a request, and raises a problem if it is refused.
    """

    def __init__(self, app: ASGIApp, check: Callable[[Scope, Headers], None]) -> None:
        self._app, self._check = app, check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope, Headers(scope=scope))
        except Problem as problem:
            await refuse(problem, scope, send)
            return
        await self._app(scope, receive, send)


async def refuse(problem: Problem, scope: Scope, send: Send) -> None:
    """Answer with a problem; a WebSocket is not opened."""
    kind = "websocket.http" if scope["type"] == "websocket" else "http"
    body = json.dumps(problem.document(scope["state"]["request_id"])).encode()
    headers = {"content-type": "application/json", **problem.headers}
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": f"{kind}.response.start", "status": problem.status, "headers": raw})
    await send({"type": f"{kind}.response.body", "body": body})


def key_of(headers: Headers) -> bytes | None:
    """The key that a request brings."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key:
        return key.strip().encode("utf-8", "replace")
    found: Any = headers.get("x-api-key")
    return found.encode("utf-8", "replace") if found else None


def _origin(text: str) -> str:
    """As a browser sends it, or an error: one that is written otherwise would never be met."""
    found = text.lower()
    if not ORIGIN.fullmatch(found):
        raise ClapError(
            f"'{text}' is no origin: give the scheme and the name of a site, and the port if it "
            "has one, as in https://example.org."
        )
    return found


def _name_of(host: str) -> str:
    """A ``Host`` without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    name, _, port = host.partition(":")
    return (host if ":" in port else name).lower()  # an address of IPv6, as it is bound to


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
