"""Bytes to and from a server, as they are on the wire."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.clap_export.serve.running import PATIENCE, Running, until

CHUNKED = b"POST /v1/classify HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n"


def quiet(server: Running) -> None:
    """Nothing of any request is left."""
    service = server.service
    until(lambda: service.door.inside == service.large.inside == 0)
    until(lambda: service.audio.jobs == service.audio.held == 0)
    until(lambda: service.uploads.memory.free == service.limits.memory)
    until(lambda: service.uploads.disk.free == service.limits.disk)


@contextmanager
def raw(server: Running, *parts: bytes) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as made:
        for part in parts:
            made.sendall(part)
        yield made


def head(length: int, path: str = "/v1/classify", more: str = "") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{more}\r\n"
    ).encode()


def whole(made: socket.socket) -> bytes:
    """An answer behind which the connection stays: its header and its body may come apart."""
    found, length = b"", None
    while length is None or len(found) < length:
        piece = made.recv(65536)
        assert piece, found  # it is closed
        found += piece
        header, end, _ = found.lower().partition(b"\r\n\r\n")
        if end:
            stated = header.partition(b"content-length: ")[2].split(b"\r\n")[0]
            length = len(header) + len(end) + int(stated)
    return found


def answer_of(made: socket.socket) -> bytes:
    found = b""
    with suppress(ConnectionError):
        while piece := made.recv(65536):
            found += piece
    return found
