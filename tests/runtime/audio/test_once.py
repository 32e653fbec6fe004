"""Sources that come once (pipes, sockets), and file objects that are read where they are."""

from __future__ import annotations

import gc
import gzip
import io
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

from runtime import Encoder, audio
from runtime.audio import sources, spool
from runtime.errors import AudioError
from tests.places import ROOT
from tests.runtime.audio.encoded import encode, mono, needs_ffmpeg, sound, wav
from tests.tiny import bundle as tinybundle

WAV = wav(sound())
FLAC = wav(sound(), format="FLAC")


class Once(io.RawIOBase):
    """Bytes that come in small pieces, and but once."""

    def __init__(self, data: bytes, most: int = 5000) -> None:
        self._left, self._most = memoryview(data), most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = min(len(buffer), self._most, len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


@pytest.mark.parametrize("data", [WAV, FLAC], ids=["WAV", "FLAC"])
@pytest.mark.parametrize("in_memory", [0, 100_000, 1 << 23])
def test_what_comes_once(data: bytes, in_memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool.kept, "__defaults__", (in_memory,))
    monkeypatch.setattr(spool.kept.__wrapped__, "__defaults__", (in_memory,))
    for source in (Once(data), io.BufferedReader(Once(data)), Once(data, most=1 << 30)):
        found = audio.read(source)
        assert found.warning is None
        assert np.array_equal(found.samples, mono(sound()))


@needs_ffmpeg
@pytest.mark.parametrize("in_memory", [0, 1 << 23])
def test_an_m4a_that_comes_once(
    in_memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool.kept.__wrapped__, "__defaults__", (in_memory,))
    data = encode(tmp_path, "a.m4a", "-c:a", "alac").read_bytes()  # its index is at the end
    assert np.array_equal(audio.read(Once(data)).samples, mono(sound()))


def test_a_pipe_and_a_socket() -> None:
    def fill(write: int) -> None:
        with open(write, "wb") as file:
            file.write(FLAC)

    read, write = os.pipe()
    writer = threading.Thread(target=fill, args=(write,))
    writer.start()
    with open(read, "rb") as file:
        assert np.array_equal(audio.read(file).samples, mono(sound()))
    writer.join()

    one, two = socket.socketpair()
    writer = threading.Thread(target=lambda: (one.sendall(FLAC), one.close()))
    writer.start()
    with two, two.makefile("rb") as file:
        assert np.array_equal(audio.read(file).samples, mono(sound()))
    writer.join()


def test_the_path_of_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(FLAC,))
    writer.start()
    assert np.array_equal(audio.read(path).samples, mono(sound()))
    writer.join()
    writer = threading.Thread(target=path.write_bytes, args=(b"",))
    writer.start()
    with pytest.raises(AudioError, match=r"pipe' is empty \(0 bytes\)"):
        audio.read(path)
    writer.join()
    with pytest.raises(AudioError, match="neither a file nor a pipe"):
        audio.read("/dev/null")


@pytest.mark.parametrize("source", ["sys.stdin.buffer", "'/dev/stdin'"])
@pytest.mark.parametrize("form", ["pipe", "file"])
def test_standard_input(source: str, form: str, tmp_path: Path) -> None:
    code = f"import sys; from runtime import audio; print(len(audio.read({source}).samples))"
    path = tmp_path / "a.flac"
    path.write_bytes(FLAC)
    with path.open("rb") as file:
        given = {"input": FLAC} if form == "pipe" else {"stdin": file}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, **given
        )
    assert int(done.stdout) == len(sound())


def test_a_long_pipe_is_kept_on_the_disk_not_in_memory() -> None:
    code = (
        "import resource, sys\n"
        "from runtime.audio import sources\n"
        "import soundfile\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "before = peak()\n"
        "with sources.opened(sys.stdin.buffer) as content: print(content.size, peak() - before)"
    )
    reader = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert reader.stdin is not None
    for _ in range(200):
        reader.stdin.write(bytes(1 << 20))
    out, _ = reader.communicate()
    size, grown = map(int, out.split())
    assert size == 200 << 20
    assert grown < 32


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10 << 20, limit[1]))
    try:
        with pytest.raises(AudioError, match=r"in Once must be kept .* is full\. Make room"):
            audio.read(Once(bytes(20 << 20), most=1 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(AudioError, match="cannot be written to"):
        audio.read(Once(bytes(20 << 20), most=1 << 20))


# File objects that can seek


class Watched(io.BytesIO):
    """Notes how much is asked for at once."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.most = max(self.most, 1 << 60 if size is None or size < 0 else size)
        return super().read(size)


def test_a_file_object_is_read_where_it_is() -> None:
    source = Watched(FLAC)
    assert np.array_equal(audio.read(source).samples, mono(sound()))
    assert 0 < source.most <= 1 << 20
    with pytest.raises(AudioError, match="is empty"):  # it was read to its end
        audio.read(source)


@pytest.mark.parametrize(
    "data", [WAV, FLAC, wav(sound(), format="OGG"), wav(sound(), format="MP3")]
)
def test_it_is_read_from_where_it_stands(data: bytes) -> None:
    source = io.BytesIO(b"x" * 4321 + data)
    source.seek(4321)
    assert np.array_equal(audio.read(source).samples, audio.read(data).samples)


def test_one_that_gives_less_than_was_asked() -> None:
    class Lazy(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size, 777) if size and size > 0 else size)

    assert np.array_equal(audio.read(Lazy(FLAC)).samples, mono(sound()))


def test_compressed_ones_are_not_gone_back_in(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", FLAC)
    with (
        gzip.open(io.BytesIO(gzip.compress(FLAC))) as one,
        zipfile.ZipFile(packed) as archive,
        archive.open("a") as two,
    ):
        for source in (one, two):
            seeks: list[object] = []
            monkeypatch.setattr(source, "seek", lambda *args, noted=seeks: noted.append(args))
            assert np.array_equal(audio.read(source).samples, mono(sound()))
            assert not seeks


def test_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF")
    with path.open() as file, pytest.raises(AudioError, match="not open in binary mode"):
        audio.read(file)
    with pytest.raises(AudioError, match="not open in binary mode"):
        audio.read(io.StringIO("RIFF"))


def test_one_that_does_not_wait() -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    with (
        open(read, "rb", buffering=0) as file,
        open(write, "wb"),
        pytest.raises(AudioError, match="does not wait for its bytes"),
    ):
        audio.read(file)


def test_closed_when_it_is_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(FLAC)
    gc.collect()  # what other tests have left is not closed meanwhile
    before = len(os.listdir("/proc/self/fd"))
    with path.open("rb") as file:
        with sources.opened(file):
            pass
        assert not file.closed
    with sources.opened(path) as content:
        assert content.descriptor is not None
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_gives_the_same_again(tmp_path: Path) -> None:
    path, pipe = tmp_path / "a.flac", tmp_path / "pipe"
    path.write_bytes(FLAC)
    os.mkfifo(pipe)
    assert all(map(sources.repeatable, (path, str(path), FLAC, bytearray(FLAC), np.zeros(9))))
    assert not any(map(sources.repeatable, (pipe, str(pipe), Once(FLAC), io.BytesIO(FLAC), None)))


def test_the_middle_of_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "runtime.clips.clip.HELD", 1000
    )  # samples; of more, the source is opened again
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    rate, window = tinybundle.RATE, tinybundle.clip(0)
    data = wav(np.tile(window, 20), rate, subtype="FLOAT")
    with Encoder(tinybundle.build(tmp_path / "b"), windows="middle") as encoder:
        want = encoder.embed_audio(data)
        writer = threading.Thread(target=pipe.write_bytes, args=(data,))
        writer.start()
        assert np.array_equal(encoder.embed_audio(pipe), want)
        writer.join()
