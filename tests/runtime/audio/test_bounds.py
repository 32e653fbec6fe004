"""Small files that hold hours: they are decoded at a fixed memory, as far as somebody asks."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from runtime import audio
from runtime.audio.stream import Stream
from runtime.errors import AudioError
from tests.places import ROOT
from tests.runtime.audio.encoded import PROGRAM, needs_ffmpeg

LONGEST = 65_535  # samples of a FLAC frame


def crc(data: bytes, polynomial: int, bits: int) -> bytes:
    value, top = 0, 1 << bits - 1
    for byte in data:
        value ^= byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & (1 << bits) - 1
    return value.to_bytes(bits // 8, "big")


def silence(frames: int, rate: int = 48_000, channels: int = 8) -> bytes:
    """A FLAC of zeros: some 40 bytes for 65,535 samples of each channel."""
    block = LONGEST.to_bytes(2, "big")
    shape = rate << 44 | channels - 1 << 41 | 15 << 36 | 0
    found = [b"fLaC\x80\0\0\x22" + 2 * block + bytes(6) + shape.to_bytes(8, "big") + bytes(16)]
    for number in range(frames):
        head = bytes([0xFF, 0xF8, 0x70, channels - 1 << 4 | 8]) + chr(number).encode("utf-8")
        head += (LONGEST - 1).to_bytes(2, "big")
        frame = head + crc(head, 0x07, 8) + bytes(3 * channels)
        found.append(frame + crc(frame, 0x8005, 16))
    return b"".join(found)


def peak_mib(path: Path, code: str) -> int:
    """By how much memory a process grows that runs some code on ``sys.argv[1]``."""
    script = (
        "import resource, sys, soundfile, soxr\n"
        "from runtime import audio\nfrom runtime.audio.stream import Stream\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"before = peak()\n{code}\nprint((peak() - before) // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], cwd=ROOT, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return int(done.stdout)


READ = "with Stream(sys.argv[1], rate=16_000) as s: n = sum(len(b) for b in s.blocks())"


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
@pytest.mark.parametrize(
    "frames", [150, pytest.param(2_500, marks=pytest.mark.slow)], ids=["0.3 GB", "5 GB"]
)
def test_a_flac_bomb_takes_a_block_at_a_time(frames: int, tmp_path: Path) -> None:
    path = tmp_path / "bomb.flac"
    path.write_bytes(silence(frames))
    assert path.stat().st_size < 50 * frames
    assert peak_mib(path, f"{READ}\nassert n > {frames * LONGEST // 3 - 100}, n") < 24


def test_a_flac_bomb_ends_where_its_reader_wants(tmp_path: Path) -> None:
    data = silence(300)  # 410 s
    with pytest.raises(AudioError, match="longer than the 60 s allowed"):
        audio.read(data, max_seconds=60)
    with Stream(data) as stream:
        assert sum(map(len, islice(stream.blocks(), 5))) < 5 * LONGEST


@needs_ffmpeg
@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_what_comes_through_ffmpeg_takes_a_block_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "long.mka"
    flac = tmp_path / "bomb.flac"
    flac.write_bytes(silence(60))
    command = [str(PROGRAM), "-nostdin", "-loglevel", "error", "-i", str(flac), "-c", "copy"]
    subprocess.run([*command, str(path)], check=True)
    assert peak_mib(path, f"{READ}\nassert n > {60 * LONGEST // 3 - 100}, n") < 24
