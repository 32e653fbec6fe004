"""The command ``listen`` as people start it, and web servers for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from clap_export.cli import main
from tests.places import ROOT
from tests.tiny import bundle as tiny

LABELS = ",".join(tiny.LABELS)
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
posix = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
PATIENCE = 120.0  # seconds after which something will never come, however busy the machine is
EVERYTHING = ("--on", "0.001")  # each label is on in each window that is heard


def pcm(seconds: float, seed: int = 0) -> bytes:
    """Mono s16le at the model's rate."""
    return (tiny.clip(seed, round(seconds * tiny.RATE)) * 32767).astype("<i2").tobytes()


def bursts() -> bytes:
    """Sound of which the loudest label changes: each second another clip."""
    return b"".join(pcm(1.0, seed) for seed in range(6))


@dataclass(frozen=True)
class Done:
    exit_code: int
    stdout: str
    stderr: str


def call(bundle: Path, *arguments: object, stdin: bytes = b"") -> Done:
    """With a pipe as standard input that comes to its end."""
    run = subprocess.run(
        command(bundle, *arguments), input=stdin, capture_output=True, check=False,
        timeout=PATIENCE, env=environment(),
    )  # fmt: skip
    return Done(run.returncode, run.stdout.decode(), run.stderr.decode())


def inside(bundle: Path, sound: bytes, *arguments: object, pcm: str = "s16le") -> Done:
    """In this process, with a file of raw samples: quicker than a process for each."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound.pcm"
        path.write_bytes(sound)
        given = ["--input", path, "--pcm", pcm, "--rate", 16_000, *arguments]
        words = ["listen", str(bundle), "--labels", LABELS, *map(str, given)]
        run = CliRunner().invoke(main, words)
    return Done(run.exit_code, run.stdout, run.stderr)


def command(bundle: Path, *arguments: object) -> list[str]:
    words = [sys.executable, "-m", "clap_export", "listen", str(bundle), "--labels", LABELS]
    return [*words, *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@contextmanager
def running(bundle: Path, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command(bundle, *arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def server(handle: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A local web server; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(OSError):
                handle(self)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    thread = threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{made.server_address[1]}/secret?key=1"
    finally:
        made.shutdown()
        made.server_close()
        thread.join()


def body(request: BaseHTTPRequestHandler) -> Any:
    return json.loads(request.rfile.read(int(request.headers["Content-Length"])))


def answer(request: BaseHTTPRequestHandler, code: int, **headers: str) -> None:
    request.send_response(code)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", "0")
    request.end_headers()
