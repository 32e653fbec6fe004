"""A thread that loaded OpenVINO handles signals after another one has closed it."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runtime.backends import signal_stack
from runtime.backends.signal_stack import Stack
from tests import tiny

pytest.importorskip("openvino", reason="OpenVINO is optional")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux's stack_t")

STOPPED = """
import gc, os, signal, sys, threading
import numpy as np
from runtime.backends import open_backend

heard = []
signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
kept = [open_backend(sys.argv[1], ("openvino",), bfloat16=True)]
kept[0].run({"waveform": np.zeros((1, int(sys.argv[2])), np.float32)})
os.kill(os.getpid(), signal.SIGUSR1)

def forget():
    kept.pop().close()
    gc.collect()

other = threading.Thread(target=forget)
other.start()
other.join()
os.kill(os.getpid(), signal.SIGUSR1)
print(len(heard))
"""


def test_a_signal_is_handled_when_another_thread_closed_the_engine(exported_bundle: Path) -> None:
    """Unloaded there, the plugin would leave this thread without a stack: a segmentation fault."""
    graph = str(exported_bundle / "audio.onnx")
    ended = subprocess.run(
        [sys.executable, "-c", STOPPED, graph, str(tiny.WINDOW)], capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout.split()) == (0, ["2"]), ended.stderr


def test_a_threads_own_stack_is_given_back() -> None:
    """Whether it had none or one, and whatever a library gave it meanwhile."""
    exchange = ctypes.CDLL(None).sigaltstack
    memory = [ctypes.create_string_buffer(200_000) for _ in range(2)]
    none = Stack(None, 2, 0)  # SS_DISABLE
    one, other = (Stack(ctypes.addressof(each), 0, 200_000) for each in memory)
    found: list[int | None] = []

    def look() -> None:
        for own in (none, one):
            assert exchange(ctypes.byref(own), None) == 0
            with signal_stack.kept():
                assert exchange(ctypes.byref(other), None) == 0
            now = Stack()
            exchange(None, ctypes.byref(now))
            found.append(None if now.ss_flags == 2 else now.ss_sp)
        exchange(ctypes.byref(none), None)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [None, one.ss_sp]
