"""No engine reports to its maker: a proxy that records is asked for nothing, HOME stays empty."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.tiny import bundle as tinybundle

CODE = """
import sys, time
from runtime import Classifier
clip = open(sys.argv[2], "rb").read()
for provider in sys.argv[3:]:
    assert Classifier(sys.argv[1], ["dog", "rain"], providers=(provider,)).predict(clip)
time.sleep(0.5)
"""


class Recorder:
    """A proxy on this machine that keeps what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            self.asked.append(client.recv(300))
            client.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}"


def run(folder: Path, home: Path, proxy: str, *providers: str) -> None:
    clip = folder.parent / "clip.wav"
    clip.write_bytes(tinybundle.wav(tinybundle.clip(0)))
    names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    kept = {k: v for k, v in os.environ.items() if k not in ("ORT_DISABLE_TELEMETRY", "CI")}
    subprocess.run(
        [sys.executable, "-c", CODE, folder, clip, *providers], cwd=ROOT, check=True, timeout=120,
        env={
            **kept, **dict.fromkeys(names, proxy), "no_proxy": "", "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"), "XDG_CONFIG_HOME": str(home / "config"),
        },
    )  # fmt: skip


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_nobody_is_asked_and_nothing_is_written(tmp_path: Path, provider: str) -> None:
    if provider == "openvino" and find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")
    home, recorder = tmp_path / "home", Recorder()
    home.mkdir()
    folder = tinybundle.build(tmp_path / "bundle")
    run(folder, home, recorder.url, provider)
    time.sleep(0.2)
    recorder.socket.close()
    assert recorder.asked == []
    assert list(home.rglob("*")) == []


def test_the_proxy_would_have_seen_it() -> None:
    import urllib.request

    recorder = Recorder()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": recorder.url}))
    with pytest.raises(OSError, match=r"."):
        opener.open("http://example.invalid/", timeout=60)
    recorder.socket.close()
    assert recorder.asked[0].startswith(b"GET http://example.invalid/")


def test_the_reporter_can_still_be_imported_by_others() -> None:
    if find_spec("openvino") is None:
        pytest.skip("OpenVINO is not installed")
    code = (
        "import sys; from runtime.backends import quiet; quiet.openvino()\n"
        "assert 'openvino_telemetry' not in sys.modules; import openvino_telemetry"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=120)
