"""A server on a free port of this machine, in this process, and its client."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from clap_export.serve.gate import Access
from clap_export.serve.keys import Keys
from clap_export.serve.limits import Limits
from clap_export.serve.scheduler import Plan
from clap_export.serve.server import Place, Server
from clap_export.serve.service import Service, Setup
from clap_export.serve.source import Source
from runtime import Encoder, LabelBank
from tests.places import ROOT
from tests.tiny import bundle as tiny

PATIENCE = 60.0  # seconds after which something will never come, however busy the machine is


@dataclass(frozen=True)
class Running:
    """A server that runs, and a client that knows its address."""

    service: Service
    server: Server
    client: httpx.Client
    port: int

    def post(self, path: str, content: Any = None, **options: Any) -> httpx.Response:
        return self.client.post(path, content=content, **options)


@contextmanager
def running(
    bundle: Path | Source,
    *,
    limits: Limits | None = None,
    plan: Plan | None = None,
    labels: Sequence[str] = tuple(tiny.LABELS),
    folder: Path | None = None,
    allow_banks: bool = False,
    keys: tuple[str, ...] = (),
    origins: tuple[str, ...] = (),
    drain: float = 5.0,
    change: Callable[[Service], None] | None = None,
) -> Iterator[Running]:
    """Start one, and end it."""
    source = bundle if isinstance(bundle, Source) else Source(bundle)
    with Encoder(source.bundle, threads=1, max_seconds=(limits or Limits()).seconds) as encoder:
        bank = source.bank or (LabelBank.build(encoder, labels) if labels else None)
        setup = Setup(
            limits or Limits(), plan or Plan(4, lanes=2), banks={"default": bank} if bank else {},
            folder=folder, allow_banks=allow_banks, scores=source.scores, top_k=source.top_k,
        )  # fmt: skip
        service = Service(encoder, setup)
        if change is not None:
            change(service)
        access = Access.of("127.0.0.1", Keys(keys), origins)
        server = Server(service, access, Place("127.0.0.1", 0, drain))
        with server.bind() as listening:
            port = listening.getsockname()[1]
            thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
            thread.start()
            try:
                until(lambda: server.started)
                address = f"http://127.0.0.1:{port}"
                headers = {"Authorization": f"Bearer {keys[0]}"} if keys else {}
                with httpx.Client(base_url=address, headers=headers, timeout=PATIENCE) as client:
                    yield Running(service, server, client, port)
            finally:
                server.should_exit = True
                thread.join(drain + PATIENCE)
                assert not thread.is_alive()
                service.close()


def until(true: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait for something."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def error_of(answer: httpx.Response, status: int, kind: str) -> str:
    """The sentence of a refusal, of which all else is looked at."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["type"] == error["code"] == kind
    assert error["request_id"] == answer.headers["x-request-id"]
    assert error["message"].endswith((".", ".npz"))  # or with a command
    return error["message"]


def open_requests(address: str) -> int:
    """How many a server has now, those that are still coming too."""
    text = httpx.get(f"{address}/metrics", timeout=PATIENCE).text
    (line,) = [line for line in text.splitlines() if line.startswith("clap_open_requests ")]
    return int(float(line.split()[1]))


@contextmanager
def process(bundle: Path, *arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process of its own, and its address; killed at the end."""
    command = [sys.executable, "-m", "clap_export", "serve", str(bundle), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    made = subprocess.Popen(
        [*command, *map(str, arguments)], stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert made.stderr is not None
        lines = []
        for line in made.stderr:
            lines.append(line)
            if '"listening"' in line:
                break
        else:
            raise AssertionError("".join(lines))
        yield made, f"http://127.0.0.1:{json.loads(lines[-1])['port']}"
    finally:
        made.kill()
        made.communicate()
