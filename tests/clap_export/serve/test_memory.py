"""Threads of the server share memory: what one frees another takes, or the system."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from tests.places import ROOT

# As many threads as a server has, each of which holds memory of the C library at the same time;
# then how many arenas the C library says it has.
SHARED = """
import ctypes, tempfile, threading
from clap_export.serve.memory import few_arenas

few_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
all_there = threading.Barrier(21)


def hold():
    libc.malloc(10_000)
    all_there.wait()


threads = [threading.Thread(target=hold) for _ in range(20)]
for thread in threads:
    thread.start()
all_there.wait()
with tempfile.TemporaryFile() as file:
    libc.fdopen.restype = ctypes.c_void_p
    stream = ctypes.c_void_p(libc.fdopen(file.fileno(), b"w"))
    libc.malloc_info(0, stream)
    libc.fflush(stream)
    file.seek(0)
    print(file.read().count(b"<heap nr="))
"""


# 200 MB in small pieces, of which the last one stays.
FREED = """
import ctypes
import psutil
from clap_export.serve.memory import give_back

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]
pieces = []
for _ in range(50_000):
    pieces.append(libc.malloc(4000))
    ctypes.memset(pieces[-1], 1, 4000)
for piece in pieces[:-1]:
    libc.free(piece)
before = psutil.Process().memory_info().rss
give_back()
print((before - psutil.Process().memory_info().rss) >> 20)
"""
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library's malloc")


@glibc
def test_what_is_free_below_something_that_lives_goes_back_to_the_system() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FREED],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert int(done.stdout) > 150


@glibc
@pytest.mark.parametrize(("asked", "most"), [(None, 2), ("4", 4), ("64", 64)])
def test_threads_share_two_arenas_or_as_many_as_the_user_says(asked: str | None, most: int) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "MALLOC_ARENA_MAX"}
    if asked is not None:
        environment["MALLOC_ARENA_MAX"] = asked
    done = subprocess.run(
        [sys.executable, "-c", SHARED],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    found = int(done.stdout)
    assert found == most if most < 20 else found > 4


KEPT = """
import gc, weakref
from clap_export.serve.memory import give_back, settle


class Upload:
    pass


def failed():
    upload = Upload()
    try:
        raise ValueError
    except ValueError as error:
        kept = error  # as a library may: the error holds this frame, and this frame the error
    return weakref.ref(upload)


gc.disable()
settle()
dead = failed()
print(dead() is not None, gc.get_freeze_count() > 0)
give_back()
print(dead() is None)
"""


def test_what_errors_hold_in_cycles_is_let_go() -> None:
    done = subprocess.run(
        [sys.executable, "-c", KEPT],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == ["True", "True", "True"]
