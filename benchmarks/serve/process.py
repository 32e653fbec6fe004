"""Servers in processes of their own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Running:
    """A server that runs."""

    port: int
    process: psutil.Process

    def state(self) -> dict[str, float]:
        """What it holds now, its children's memory included."""
        with self.process.oneshot():
            memory = self.process.memory_info().rss
        for child in self.process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # a decoder that has just ended
                memory += child.memory_info().rss
        return {
            "rss_mib": round(memory / (1 << 20), 1), "files": self.process.num_fds(),
            "threads": self.process.num_threads(),
        }  # fmt: skip

    def cpu_seconds(self) -> float:
        """Of all cores, so far."""
        times = self.process.cpu_times()
        return times.user + times.system


@contextmanager
def ours(bundle: Path, labels: Sequence[str], *options: object) -> Iterator[Running]:
    """``clap-export serve``."""
    words = ["-m", "clap_export", "serve", str(bundle), "--labels", ",".join(labels), "--port", "0"]
    with _started([*words, *map(str, options)]) as made:
        assert made.stderr is not None
        for line in made.stderr:
            if '"listening"' in line:
                threading.Thread(target=_drained, args=(made,), daemon=True).start()
                yield Running(json.loads(line)["port"], psutil.Process(made.pid))
                return
        raise SystemExit("the server did not start")


@contextmanager
def plain(checkpoint: Path, labels: Sequence[str]) -> Iterator[Running]:
    """:mod:`benchmarks.serve.plain`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [str(Path(__file__).with_name("plain.py")), str(checkpoint), str(port)]
    with _started([*words, ",".join(labels)]) as made:
        threading.Thread(target=_drained, args=(made,), daemon=True).start()
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield Running(port, psutil.Process(made.pid))


@contextmanager
def _started(words: list[str]) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    made = subprocess.Popen(
        [sys.executable, *words], stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        yield made
    finally:
        made.terminate()
        try:
            made.wait(20)
        except subprocess.TimeoutExpired:
            made.kill()
            made.wait()


def _drained(made: subprocess.Popen[str]) -> None:
    for _ in made.stderr or ():
        pass
