"""A real Triton on this machine: the server that nvidia-pytriton's wheel carries.

It has the Python backend alone, and starts a process for each model with the Python of an
environment. That one must have numpy 1, so it is not the one that tests run in.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.places import ROOT

PATIENCE = 120  # seconds: a busy machine may take long to start a process for each model
ENVIRONMENT = ROOT / ".venv-triton"
INSTALL = (
    "needs a real Triton: python3 -m venv .venv-triton && "
    '.venv-triton/bin/pip install ".[cpu,triton-test]"; CLAP_TRITON names another place'
)

# Way (http or grpc), model, inputs, how many best labels.
Request: TypeAlias = "tuple[str, str, dict[str, Any], int]"


@dataclass(frozen=True)
class Server:
    """A server that is ready, and a client of it.

    Attributes:
        process: of the server.
        client: a process that asks it.
        http: its address.
        grpc: the same.
        log: what it wrote.
    """

    process: subprocess.Popen[bytes]
    client: subprocess.Popen[bytes]
    http: str
    grpc: str
    log: Path

    def ask(self, requests: Sequence[Request]) -> list[Any]:
        """Answers to requests, many at a time; see the client."""
        return self._tell(requests, 0, 0.0)

    def load(
        self, requests: Sequence[Request], clients: int, seconds: float
    ) -> tuple[list[float], float]:
        """Ask for a time, by clients that never pause: seconds of each request, and of all."""
        return self._tell(requests, clients, seconds)

    def _tell(self, requests: Sequence[Request], clients: int, seconds: float) -> Any:
        assert self.client.stdin is not None
        assert self.client.stdout is not None
        addresses = {"http": self.http, "grpc": self.grpc}
        full = [(way, addresses[way], *rest) for way, *rest in requests]
        pickle.dump((full, clients, seconds), self.client.stdin)
        self.client.stdin.flush()
        return pickle.load(self.client.stdout)

    def get(self, path: str) -> Any:
        """A document of the server's HTTP interface."""
        with urllib.request.urlopen(f"http://{self.http}/v2/{path}", timeout=10) as found:
            return json.loads(found.read() or b"null")

    def ready(self) -> bool:
        """Whether all models can be called."""
        try:
            self.get("health/ready")
        except OSError:
            return False
        return True

    def children(self) -> list[int]:
        """Processes of the models."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                fields = (path / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == self.process.pid:
                found.append(int(path.name))
        return found


def environment() -> Path:
    """The Python that has the server; tests are skipped where there is none."""
    folder = Path(os.environ.get("CLAP_TRITON", ENVIRONMENT))
    python = folder / "bin" / "python"
    if sys.platform != "linux" or not python.exists():
        pytest.skip(INSTALL)
    return python


@contextmanager
def server(repository: Path, folder: Path) -> Iterator[Server]:
    """A server of a repository; a failure to start has its log in the message.

    Args:
        repository: of models.
        folder: for what it needs beside them.
    """
    python = environment()
    here, backends, programs = _installed(python, folder)
    http, grpc, metrics = _ports(3)
    log = folder / "triton.log"
    command = [
        here / "tritonserver" / "bin" / "tritonserver", f"--model-repository={repository}",
        f"--backend-directory={backends}", "--disable-auto-complete-config",
        "--exit-timeout-secs=5", "--http-address=127.0.0.1", f"--http-port={http}",
        "--grpc-address=127.0.0.1", f"--grpc-port={grpc}", "--metrics-address=127.0.0.1",
        f"--metrics-port={metrics}",
        # Servers that run at the same time must not share memory by name.
        f"--backend-config=python,shm-region-prefix-name=clap{os.getpid()}-{http}",
    ]  # fmt: skip
    variables = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": str(here.parent / "nvidia_pytriton.libs"),
    }
    asks = [str(python), str(Path(__file__).with_name("client.py"))]
    pipe = subprocess.PIPE
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [str(c) for c in command], stdout=file, stderr=subprocess.STDOUT, env=variables
        ) as process,
        subprocess.Popen(asks, stdin=pipe, stdout=pipe) as client,
    ):
        found = Server(process, client, f"127.0.0.1:{http}", f"127.0.0.1:{grpc}", log)
        try:
            _wait(found)
            yield found
        finally:
            client.kill()
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(server: Server) -> None:
    end = time.monotonic() + PATIENCE
    while not server.ready():
        if server.process.poll() is not None or time.monotonic() > end:
            log = server.log.read_text(errors="replace")
            raise RuntimeError(f"Triton did not start:\n{log}")
        time.sleep(0.2)


def _installed(python: Path, folder: Path) -> tuple[Path, Path, Path]:
    """The wheel; the Python backend with the stub for this Python; and the programs of the
    environment that it will run in, which is of this checkout and the given one's packages.
    """
    say = "import sys, sysconfig as s; print(*sys.version_info[:2], s.get_path('purelib'))"
    major, minor, packages = subprocess.check_output([python, "-c", say], text=True).split()
    wheel = Path(packages) / "pytriton"
    backends = folder / "backends"
    shutil.copytree(wheel / "tritonserver" / "backends", backends)
    stub = wheel / "tritonserver" / "python_backend_stubs" / f"{major}.{minor}"
    shutil.copy(stub / "triton_python_backend_stub", backends / "python")
    # The stub reads no PYTHONPATH: what it imports is what the `python` of its PATH has.
    subprocess.run([python, "-m", "venv", "--without-pip", folder / "env"], check=True)
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    (site / "here.pth").write_text(f"{ROOT}\n{packages}\n")
    return wheel, backends, folder / "env" / "bin"


def _ports(count: int) -> list[int]:
    """Free ones of the loopback interface."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
