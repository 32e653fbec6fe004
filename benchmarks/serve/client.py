"""A light HTTP/1.1 client of plain asyncio: what it costs is not the server's."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field


@dataclass
class Load:
    """What clients found.

    Attributes:
        seconds: that it lasted.
        latencies: of answers of status 200, in seconds.
        statuses: how many answers of each; 0 where the connection was closed.
    """

    seconds: float
    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Good answers in a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        """Of the latencies, in milliseconds; NaN without any."""
        ordered = sorted(self.latencies)
        if not ordered:
            return float("nan")
        return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def post(path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """A request as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def closed_loop(
    port: int, request: bytes, clients: int, seconds: float, warm: float = 1.0
) -> Load:
    """So many clients, each of which asks again as soon as it has its answer.

    Args:
        port: of the server.
        request: as it goes over the wire.
        clients: at a time.
        seconds: for which answers are counted.
        warm: seconds before that.
    """
    found = Load(seconds)
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(clients)]
    begin = time.perf_counter() + warm
    end = begin + seconds

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (start := time.perf_counter()) < end:
            try:
                status, _ = await _ask(reader, writer, request)
            except (asyncio.IncompleteReadError, OSError):
                status = 0  # the connection was closed
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            now = time.perf_counter()
            if begin <= now < end:
                found.statuses[status] = found.statuses.get(status, 0) + 1
                if status == 200:
                    found.latencies.append(now - start)
            if status == 429:
                await asyncio.sleep(0.05)
        writer.close()

    await asyncio.gather(*(ask(*connection) for connection in connections))
    return found


async def once(port: int, request: bytes) -> tuple[int, bytes]:
    """One request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await _ask(reader, writer, request)
    finally:
        writer.close()


async def _ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, bytes]:
    writer.write(request)
    await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = next(
        int(line.split(":")[1]) for line in head.splitlines() if line.startswith("content-length:")
    )
    return int(head.split(" ", 2)[1]), await reader.readexactly(length)


def metrics(text: bytes) -> dict[str, float]:
    """Prometheus' lines as a table."""
    found: dict[str, float] = {}
    for line in text.decode().splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


def dumped(load: Load) -> dict[str, object]:
    """A load as the report keeps it."""
    return {
        "rate": round(load.rate, 2), "p50_ms": round(load.percentile(50), 2),
        "p99_ms": round(load.percentile(99), 2),
        "statuses": json.loads(json.dumps(load.statuses)),
    }  # fmt: skip
