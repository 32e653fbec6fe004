"""The service for long: does anything grow?

    python benchmarks/serve/soak.py BUNDLE [--minutes 60] [--json OUT]

A mixture without an end: clips of one second, hour-long files, timelines told as they are heard,
streams over WebSockets, clients that leave in the midst of an upload or of an answer, deadlines
that are too short, and bodies that are no recordings. Memory (with the decoders'), open files and
threads are looked at every ten seconds. Six times all clients leave for 90 seconds: what is held
then is what was kept, and no recording on its way. It fails when, from the first of these rests to
the last, memory has grown by more than 5 % and 20 MiB, or files or threads by more than 2.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import websockets

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.serve import client, process
from benchmarks.serve.load import LABELS, RATE, wav

EVERY = 10.0  # seconds
RESTS = 6
REST = 90.0  # seconds: free memory goes back every minute
# How a connection may end; the report counts each.
ENDED = (
    OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, websockets.ConnectionClosed,
)  # fmt: skip
SHORT, LONG = wav(1.0), wav(3600.0)
ASK_SHORT, ASK_LONG = client.post("/v1/classify", SHORT), client.post("/v1/classify", LONG)


class Mixture:
    """Clients of all kinds.

    Args:
        port: of the server.
        end: by ``time.monotonic``.
    """

    def __init__(self, port: int, end: float) -> None:
        self._port, self._end = port, end
        self.done: Counter[str] = Counter()

    async def run(self) -> None:
        """All of them until the end."""
        kinds = [self._short] * 4 + [self._long, self._told, self._stream] + [self._bad] * 2
        await asyncio.gather(*(self._again(kind, i) for i, kind in enumerate(kinds)))

    async def _again(self, kind: Any, seed: int) -> None:
        rng = random.Random(seed)
        while time.monotonic() < self._end:
            try:
                left = max(1.0, self._end - time.monotonic())
                await asyncio.wait_for(kind(rng), left)
            except ENDED as error:
                self.done[f"{kind.__name__}: {type(error).__name__}"] += 1

    async def _short(self, rng: random.Random) -> None:
        status, _ = await client.once(self._port, ASK_SHORT)
        self.done[f"short: {status}"] += 1

    async def _long(self, rng: random.Random) -> None:
        status, _ = await client.once(self._port, ASK_LONG)
        self.done[f"long: {status}"] += 1

    async def _told(self, rng: random.Random) -> None:
        headers = {"Accept": "text/event-stream"}
        request = client.post("/v1/classify?timeline=true&hop=1", LONG[: 120 * RATE], headers)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(request)
            for _ in range(rng.choice((3, 30, 10_000))):  # some leave early
                line = await reader.readline()
                if not line or line.startswith(b"event: result"):
                    break
            self.done["told"] += 1
        finally:
            writer.close()

    async def _stream(self, rng: random.Random) -> None:
        address = f"ws://127.0.0.1:{self._port}/v1/listen"
        async with websockets.connect(address, max_queue=None) as made:
            await made.send(json.dumps({"rate": RATE, "hop": 1.0}))
            chunk = (np.frombuffer(SHORT, "<i2", 4800, 44)).tobytes()
            for _ in range(rng.choice((5, 200))):
                await made.send(chunk)
                await asyncio.sleep(0.02)
            if rng.random() < 0.7:  # others just leave
                await made.send('{"type": "end"}')
                with suppress(websockets.ConnectionClosed):
                    while True:
                        await made.recv()
        self.done["stream"] += 1

    async def _bad(self, rng: random.Random) -> None:
        kind = rng.randrange(4)
        if kind == 0:  # leaves in the midst of its upload
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(ASK_LONG[: rng.choice((100, 9_000_000))])
            await asyncio.sleep(rng.random() / 10)
            writer.close()
            self.done["left"] += 1
            return
        body = (SHORT, rng.randbytes(2000), LONG[:400_000])[kind - 1]
        headers = {"X-Deadline-Ms": "20"} if kind != 2 else {}
        status, _ = await client.once(self._port, client.post("/v1/classify", body, headers))
        self.done[f"bad: {status}"] += 1
        await asyncio.sleep(0.05)


async def soaked(running: process.Running, minutes: float) -> dict[str, Any]:
    """Run the mixture, and look at the server."""
    began, states = time.monotonic(), list[dict[str, Any]]()
    done: Counter[str] = Counter()

    async def look(task: asyncio.Task[None], rest: int | None) -> None:
        while not task.done():
            await asyncio.wait({task}, timeout=EVERY)
            at = round(time.monotonic() - began)
            states.append({"at": at, "rest": rest, **running.state()})
            print(states[-1], file=sys.stderr)
        await task

    for rest in range(RESTS):
        busy = max(1.0, 60 * minutes / RESTS - REST)
        mixture = Mixture(running.port, time.monotonic() + busy)
        await look(asyncio.create_task(mixture.run()), None)
        done.update(mixture.done)
        await look(asyncio.create_task(asyncio.sleep(REST)), rest)
    return {"minutes": minutes, "states": states, "done": dict(sorted(done.items()))}


def verdict(states: list[dict[str, Any]]) -> dict[str, Any]:
    """What grew from the first rest to the last: the last look at each; and the median at work."""
    found: dict[str, Any] = {}
    for name in ("rss_mib", "files", "threads"):
        rests = [[s[name] for s in states if s["rest"] == rest][-1] for rest in range(RESTS)]
        a, b = rests[0], rests[-1]
        most = max(1.05 * a, a + 20) if name == "rss_mib" else a + 2
        busy = statistics.median(s[name] for s in states if s["rest"] is None)
        found[name] = {"at rest": rests, "at work": busy, "grew": b > most}
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with process.ours(given.bundle, LABELS) as running:
        found = asyncio.run(soaked(running, given.minutes))
    found["verdict"] = verdict(found["states"])
    print(json.dumps({key: found[key] for key in ("done", "verdict")}, indent=1))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return int(any(part["grew"] for part in found["verdict"].values()))


if __name__ == "__main__":
    sys.exit(main())
