"""The server: its connections, which have little time and little room, and its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import threading
from dataclasses import dataclass
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from clap_export.serve.app import create_app
from clap_export.serve.entry import RAW, new_id
from clap_export.serve.gate import Access
from clap_export.serve.limits import CONNECTIONS, MIB
from clap_export.serve.log import say
from clap_export.serve.memory import give_back
from clap_export.serve.problems import Problem
from clap_export.serve.service import Service
from runtime.errors import ClapError

MOST_HEADERS = 32 << 10  # bytes of a request's headers
KEEP_ALIVE = 10  # seconds between two requests of a connection
MESSAGE = 1 * MIB  # bytes of a message of a stream
BACKLOG = 1024  # connections that wait to be accepted
TICK = 0.05
GIVE_BACK = 60  # seconds
# A lane that comes back from its engine, or a thread that has its result, waits so long for one
# that computes in Python: with Python's own 5 ms, engines stand still at many short requests.
SWITCH = 0.0005


@dataclass(frozen=True)
class Place:
    """Where a server is.

    Attributes:
        host: address to bind to.
        port: 0 for any that is free.
        drain: seconds that requests have when it ends.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    drain: float = 30.0


class Server(uvicorn.Server):
    """Serves a service until it is told to end.

    The first SIGTERM or SIGINT drains: no new requests, and those that are there have some seconds.
    The second one ends the process at once.

    Args:
        service: that does the work; the caller closes it.
        access: who may ask.
        place: where.
    """

    def __init__(self, service: Service, access: Access, place: Place) -> None:
        self._service, self._place = service, place
        app = create_app(service, access)
        config = uvicorn.Config(
            app, host=place.host, port=place.port, http=_protocol(service.limits.headers),
            ws_max_size=MESSAGE, ws_max_queue=4, ws_per_message_deflate=False,
            log_config=None, access_log=False, server_header=False, lifespan="off",
            backlog=BACKLOG, proxy_headers=False, timeout_graceful_shutdown=1,
            timeout_keep_alive=KEEP_ALIVE, h11_max_incomplete_event_size=MOST_HEADERS,
            callback_notify=_give_back, timeout_notify=GIVE_BACK,
        )  # fmt: skip
        super().__init__(config)

    def bind(self) -> socket.socket:
        """Take the address.

        Raises:
            ClapError: it is not to be had.
        """
        place = self._place
        try:
            found = socket.getaddrinfo(
                place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            family, kind, protocol, _, address = found[0]
            made = socket.socket(family, kind, protocol)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
        except OSError as error:
            raise ClapError(
                f"'{place.host}' port {place.port} cannot be had: {error.strerror or error}."
            ) from error
        return made

    def run_on(self, listening: socket.socket) -> None:
        """Serve on a socket until the end; the process is this server's."""
        sys.setswitchinterval(SWITCH)
        self.run([listening])
        say("ended")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal: the first one drains, the second one ends."""
        if self.should_exit:
            # Uploads have no names, and decoders end with their pipes: nothing is left.
            os._exit(128 + sig)
        self.should_exit = True
        say("draining", seconds=self._place.drain, signal=signal.Signals(sig).name)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections; signals are heard from before this on."""
        await super().startup(sockets)
        for listening in sockets or []:
            host, port = listening.getsockname()[:2]
            say("listening", host=host, port=port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let requests end, for so many seconds, and then end them."""
        for server in self.servers:
            server.close()
        self._service.drain()
        loop = asyncio.get_running_loop()
        end = loop.time() + self._place.drain
        while self.server_state.tasks and loop.time() < end:
            await asyncio.sleep(TICK)
        self._service.stop()
        while self.server_state.tasks and loop.time() < end + 1.0:  # they answer that it ends
            await asyncio.sleep(TICK)
        await super().shutdown(sockets)


async def _give_back() -> None:
    """In a thread of its own: the loop goes on, and need not wait for one that is free."""
    threading.Thread(target=give_back, daemon=True).start()


def _protocol(seconds: float) -> type[H11Protocol]:
    """HTTP connections that are closed when a request's headers do not come in time."""

    class Timed(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.access_log = False  # it names paths, and ours says more

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > CONNECTIONS:
                transport.close()
                return
            self._timer = self.loop.call_later(seconds, self._slow)

        def data_received(self, data: bytes) -> None:
            before = self.cycle
            super().data_received(data)
            if self.cycle is not before:
                self._stop()
            elif self._timer is None and (before is None or before.response_complete):
                self._timer = self.loop.call_later(seconds, self._slow)  # of the next request

        def send_400_response(self, msg: str) -> None:
            """What came is no HTTP: say so, where an answer has not begun."""
            if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
                self.transport.close()
                return
            request_id = new_id()
            problem = Problem(400, "http", "what was sent is no request of HTTP/1.1.")
            body = json.dumps(problem.document(request_id)).encode()
            headers = [
                (b"content-type", b"application/json"), (b"connection", b"close"),
                (b"content-length", b"%d" % len(body)), (b"x-request-id", request_id.encode()),
                *RAW,
            ]  # fmt: skip
            for event in (
                h11.Response(status_code=400, reason=b"Bad Request", headers=headers),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event))
            self.transport.close()
            say("no request", id=request_id, status=400)

        def handle_websocket_upgrade(self, event: Any) -> None:
            self._stop()
            super().handle_websocket_upgrade(event)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _stop(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _slow(self) -> None:
            self._timer = None
            self.transport.close()

    return Timed
