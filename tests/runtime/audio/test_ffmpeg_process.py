"""The ffmpeg program as a process: it ends with its reader, and cannot hold it up."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runtime import audio
from runtime.audio import ffmpeg
from runtime.audio.ffmpeg import Input, Sound
from runtime.audio.stream import Stream
from runtime.audio.track import Undecodable
from runtime.errors import AudioError
from tests.places import ROOT
from tests.runtime.audio.encoded import PROGRAM, encode, needs_ffmpeg, sound

Instead = Callable[[str], None]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")


def programs(parent: int | None = None) -> list[int]:
    """Children of a process that run ffmpeg."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name, rest = (folder / "stat").read_text().rsplit(")", 1)
            if "(ffmpeg" in name and int(rest.split()[1]) == (parent or os.getpid()):
                found.append(int(folder.name))
    return found


def ended(process: int) -> bool:
    """Whether a process is gone; a zombie that nobody waits for is."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def long_file(tmp_path: Path) -> Path:
    """More than fits into a pipe."""
    return encode(tmp_path, "a.tta", samples=np.tile(sound(), (4, 1)))


@needs_ffmpeg
def test_it_ends_when_its_reader_is_done_or_lets_go(long_file: Path) -> None:
    audio.read(long_file)
    assert not programs()
    with Stream(long_file) as stream:
        next(stream.blocks())
        assert len(programs()) == 1
    assert not programs()
    with pytest.raises(AudioError, match="allowed"):
        audio.read(long_file, max_seconds=1.0)
    assert not programs()

    def fails() -> None:
        with Stream(long_file) as stream:
            for _ in stream.blocks():
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert not programs()


@needs_ffmpeg
def test_it_ends_when_its_reader_is_killed(long_file: Path) -> None:
    code = (
        "import sys, time; from runtime.audio.stream import Stream\n"
        "stream = Stream(sys.argv[1]); next(stream.blocks()); print('ready', flush=True)\n"
        "time.sleep(60)"
    )
    reader = subprocess.Popen(
        [sys.executable, "-c", code, str(long_file)], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert reader.stdout is not None
    with reader:
        assert reader.stdout.readline() == b"ready\n"
        (program,) = programs(reader.pid)
        reader.send_signal(signal.SIGKILL)
        reader.wait()
        until = time.monotonic() + 60
        while not ended(program) and time.monotonic() < until:
            time.sleep(0.05)
        assert ended(program)


@needs_ffmpeg
def test_descriptors_are_given_back(long_file: Path) -> None:
    data = long_file.read_bytes()
    audio.read(data)
    gc.collect()  # what other tests have left is not closed meanwhile
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        audio.read(data)
        with pytest.raises(AudioError):
            audio.read(b"nothing that is sound\0" * 1000)
    assert len(os.listdir("/proc/self/fd")) == before


# Programs of another kind, in its place


@pytest.fixture
def instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Instead:
    """Put a script in the program's place on PATH."""

    def put(script: str) -> None:
        path = tmp_path / "bin" / "ffmpeg"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(stat.S_IRWXU)
        monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")

    return put


HEADER = r"printf '.snd\0\0\0\030\377\377\377\377\0\0\0\006\0\0\037\100\0\0\0\001'"  # 8 kHz, mono
SAMPLES = "head -c 32000 /dev/zero"  # one second
WHATEVER = b"no sound that anybody knows\0" * 100


def test_what_it_writes_is_read(instead: Instead) -> None:
    instead(f"{HEADER}; {SAMPLES}; {SAMPLES}")
    found = audio.read(WHATEVER)
    assert (found.rate, len(found.samples), found.warning) == (8_000, 16_000, None)


def test_one_that_gives_nothing_is_stopped(instead: Instead) -> None:
    for script in ("exec sleep 60", "while :; do echo '[error] no' >&2; done"):
        instead(script)
        start = time.monotonic()
        with pytest.raises(Undecodable, match=r"gave nothing for 0\.3 s"):
            list(Sound(Input("file:/dev/null"), "it", patience=0.3).blocks())
        assert time.monotonic() - start < 30


def test_one_that_stops_in_the_middle_is_used_so_far(instead: Instead) -> None:
    instead(f"{HEADER}; {SAMPLES}; exec sleep 60")
    given, frames = Sound(Input("file:/dev/null"), "it", patience=60.0), 0
    for block in given.blocks():
        frames += len(block)
        if frames == 8_000:  # a busy machine may have taken a while until here
            given._patience = 0.5
    assert frames == 8_000
    assert given.trouble == "ffmpeg gave nothing for 0.5 s and was stopped"


def test_a_slow_reader_is_waited_for(instead: Instead) -> None:
    instead(f"{HEADER}; for i in 1 2 3 4 5 6; do {SAMPLES}; done")
    given, frames = Sound(Input("file:/dev/null"), "it", patience=3.0), 0
    for block in given.blocks():
        frames += len(block)
        if frames == len(block):
            time.sleep(3.3)
    assert (frames, given.trouble) == (48_000, None)


def test_many_complaints_do_not_block_it(instead: Instead) -> None:
    flood = "head -c 3000000 /dev/zero | tr '\\0' x >&2; echo '[aac @ 0x1] [error] bad \033[2J' >&2"
    instead(f"{HEADER}; {SAMPLES}; echo >&2; {flood}; {SAMPLES}")
    found = audio.read(WHATEVER)
    assert len(found.samples) == 16_000
    assert "\033" not in (found.warning or "")


def test_what_it_complains_of_is_said(instead: Instead) -> None:
    instead(f"{HEADER}; {SAMPLES}; echo '[aac @ 0x1] [error] bad \033[2J frame.' >&2; exit 1")
    found = audio.read(WHATEVER)
    assert r"some of it is damaged (ffmpeg: bad \x1b[2J frame)" in (found.warning or "")
    instead(f"{HEADER}; {SAMPLES}; kill -9 $$")
    assert "ffmpeg ended with status -9" in (audio.read(WHATEVER).warning or "")
    instead("exit 3")
    with pytest.raises(AudioError, match="ffmpeg: status 3"):
        audio.read(WHATEVER)


@pytest.mark.parametrize(
    ("script", "match"),
    [
        ("head -c 100 /dev/zero", "something else than samples"),
        ("printf .snd", "ffmpeg: status 0"),
        (HEADER.replace(r"\0\0\0\001", r"\0\0\0\100"), "64 channels; at most 32"),
        (HEADER.replace(r"\0\0\037\100", r"\0\0\0\001"), "1 Hz"),
        (HEADER, "0 samples"),
        ("exec /does/not/exist", "ffmpeg: status 127"),
    ],
)
def test_one_that_writes_nonsense(instead: Instead, script: str, match: str) -> None:
    instead(script)
    with pytest.raises(AudioError, match=match):
        audio.read(WHATEVER)


def test_one_that_cannot_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ffmpeg"
    path.write_bytes(b"\x7fELF no program at all")
    path.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioError, match=r"ffmpeg cannot be started \(Exec format error\)"):
        audio.read(WHATEVER)


def test_it_knows_little_of_the_process(
    tmp_path: Path,
    instead: Instead,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FFREPORT", f"file={tmp_path / 'report'}")
    monkeypatch.setenv("SECRET", "1")
    instead(f"env > {tmp_path / 'seen'}; {HEADER}; {SAMPLES}")
    audio.read(WHATEVER)
    names = {line.split("=")[0] for line in (tmp_path / "seen").read_text().splitlines()}
    assert names <= {"PATH", "LD_LIBRARY_PATH", "PWD", "SHLVL", "_"}


def test_it_is_looked_for_in_two_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "ffmpeg"
    own.write_text("")
    own.chmod(stat.S_IRWXU)
    package = tmp_path / "packages" / "imageio_ffmpeg.py"
    package.parent.mkdir()
    package.write_text("def get_ffmpeg_exe(): return '/opt/of-the-package'")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.delitem(sys.modules, "imageio_ffmpeg", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ffmpeg.program() == str(own)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.curdir)
    assert ffmpeg.program() == str(own)  # wherever the process goes later
    own.unlink()
    assert ffmpeg.program() == "/opt/of-the-package"
    package.write_text("raise RuntimeError('broken')")
    monkeypatch.delitem(sys.modules, "imageio_ffmpeg")
    assert ffmpeg.program() is None


@needs_ffmpeg
def test_its_memory_is_bounded() -> None:
    import resource

    process = subprocess.Popen([str(PROGRAM), "-version"], stdout=subprocess.PIPE)
    with process:
        ffmpeg._limit(process.pid)
        assert resource.prlimit(process.pid, resource.RLIMIT_DATA)[1] == ffmpeg.MEMORY
        assert resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[1] == 0
