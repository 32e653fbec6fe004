"""Streams by their address: stations, cameras and playlists, on this machine."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clap_export.cli.listening.address import Address
from runtime.audio import ffmpeg
from runtime.errors import AudioError
from runtime.listening.backlog import Piece
from tests.clap_export.cli.listening.started import (
    EVERYTHING,
    PATIENCE,
    answer,
    call,
    lines_of,
    needs_ffmpeg,
    posix,
    running,
    server,
)
from tests.fakes.camera import camera
from tests.tiny import bundle as tiny

# ------------------------------------------------------------------ streams by address


@pytest.fixture
def radio() -> Iterator[tuple[str, list[int]]]:
    """A station that is cut off after 1.5 s each time, and was away for two requests."""
    served: list[int] = []

    def send(request: BaseHTTPRequestHandler) -> None:
        served.append(len(served))
        if len(served) in (2, 3):
            answer(request, 503)
            return
        request.send_response(200)
        request.send_header("Content-Type", "audio/wav")
        request.end_headers()
        sound = tiny.wav(tiny.clip(len(served), 60 * tiny.RATE))  # a header of a minute
        request.wfile.write(sound[: 4 * round(1.5 * tiny.RATE)])

    with server(send) as url:
        yield url, served


@needs_ffmpeg
def test_a_stream_that_breaks_off_is_opened_again(radio: tuple[str, list[int]]) -> None:
    url, served = radio
    address = Address(url, first_pause=0.4)
    pieces: list[Piece] = []
    for piece in address.pieces():
        pieces.append(piece)
        if len(served) == 4:
            address.stop()
    assert len(served) == 4
    gaps = [(i, piece.gap) for i, piece in enumerate(pieces) if piece.gap]
    ((at, gap),) = gaps  # one: the time that it was away, from the first connection to the fourth
    assert sum(p.seconds for p in pieces[:at]) == pytest.approx(1.5, abs=0.1)
    # Less the sound of the fourth, which is here at once and would have been heard meanwhile.
    assert 0.4 + 0.8 + 1.6 - 1.5 < gap < PATIENCE
    assert {piece.rate for piece in pieces} == {tiny.RATE}


@needs_ffmpeg
@posix
def test_the_command_lives_through_a_break(tiny_bundle: Path, radio: tuple[str, list[int]]) -> None:
    url, _ = radio
    with running(tiny_bundle, *EVERYTHING, "--json", "--input", url) as process:
        assert process.stdout is not None
        found: list[dict[str, Any]] = []
        while not any(line["type"] == "gap" for line in found):
            found.append(json.loads(process.stdout.readline()))
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors
    found += lines_of(rest.decode())
    gap, *more = [line for line in found if line["type"] == "gap"]  # each connection breaks off
    assert gap["start"] == pytest.approx(1.5, abs=0.1)
    assert gap["seconds"] > 1.0
    first = next(line for line in found if line["type"] == "event")
    assert first["at"].endswith("Z")  # a live input has a time of day
    missing = sum(line["seconds"] for line in (gap, *more))
    assert found[-1]["missing"] == pytest.approx(missing)
    assert b"it is opened again in 1 s" in errors
    assert b"key=1" not in errors


@needs_ffmpeg
def test_a_recording_by_its_address_is_heard_once(radio: tuple[str, list[int]]) -> None:
    url, served = radio
    address = Address(url, reconnect=False)
    assert sum(p.seconds for p in address.pieces()) == pytest.approx(1.5, abs=0.1)
    assert len(served) == 1


@needs_ffmpeg
def test_a_camera_is_heard_sample_for_sample() -> None:
    samples = (tiny.clip(3, 2 * tiny.RATE) * 32767).astype(np.int16)
    with camera(samples, tiny.RATE) as url:
        pieces = list(Address(url, reconnect=False).pieces())
    found = np.concatenate([piece.samples for piece in pieces], axis=1)
    assert {piece.rate for piece in pieces} == {tiny.RATE}
    assert found.shape[0] == 1
    assert found.shape[1] >= len(samples) - 3 * 320  # the last packets may go down with it
    assert np.array_equal(found[0] * 32768, samples[: found.shape[1]])


@needs_ffmpeg
def test_an_address_that_never_answered_is_an_error() -> None:
    with pytest.raises(AudioError, match=r"'http://127\.0\.0\.1:9/x' cannot be opened"):
        list(Address("http://me:pass@127.0.0.1:9/x?key=1").pieces())


# ------------------------------------------------------------------ playlists (HLS)


TONE = 440.0  # Hz
HLS_RATE = 48_000


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tone of 6 s as parts of 1 s: as they are, and encrypted with a key."""
    folder = tmp_path_factory.mktemp("hls")
    program = ffmpeg.program()
    if program is None:
        pytest.skip("ffmpeg is not installed")
    (folder / "key.bin").write_bytes(bytes(range(16)))
    (folder / "key.txt").write_text(f"key.bin\n{folder / 'key.bin'}\n")
    tone = f"sine=frequency={TONE:g}:sample_rate={HLS_RATE}:duration=6"
    for name, more in (
        ("plain", ["-hls_segment_filename", "p%d.ts"]),
        ("mp4", ["-hls_segment_type", "fmp4", "-hls_segment_filename", "m%d.m4s"]),
        ("locked", ["-hls_key_info_file", "key.txt", "-hls_segment_filename", "e%d.ts"]),
    ):
        subprocess.run(
            [program, "-v", "error", "-f", "lavfi", "-i", tone, "-c:a", "aac", "-f", "hls",
             "-hls_time", "1", "-hls_list_size", "0", *more, f"{name}.m3u8"],
            cwd=folder, check=True,
        )  # fmt: skip
    (folder / "all.m3u8").write_text(
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=128000\nplain.m3u8\n", encoding="utf-8"
    )
    return folder


@contextmanager
def shared(folder: Path, **made: Callable[[], str]) -> Iterator[str]:
    """A web server of a folder, and of playlists that are made for each request."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def do_GET(self) -> None:
            make = made.get(Path(self.path).stem)
            if make is None:
                super().do_GET()
                return
            text = make().encode()
            if text.startswith(b"file:"):
                answer(self, 302, Location=text.decode())
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.apple.mpegurl")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made_server:
        made_server.daemon_threads = True
        thread = threading.Thread(target=made_server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{made_server.server_address[1]}"
        finally:
            made_server.shutdown()
            thread.join()


def playlist(*addresses: str, ended: bool = True, key: str = "") -> str:
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", "#EXT-X-MEDIA-SEQUENCE:0"]
    lines += [f'#EXT-X-KEY:METHOD=AES-128,URI="{key}"'] if key else []
    for address in addresses:
        lines += ["#EXTINF:1.0,", address]
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if ended else []), ""])


def heard(url: str) -> tuple[float, float]:
    """Seconds of a recording at an address, and what is loudest in it in Hz."""
    pieces = list(Address(url, reconnect=False).pieces())
    assert {piece.rate for piece in pieces} == {HLS_RATE}
    sound = np.concatenate([piece.samples[0] for piece in pieces])
    loudest = float(np.argmax(np.abs(np.fft.rfft(sound))))
    return len(sound) / HLS_RATE, loudest * HLS_RATE / len(sound)


@pytest.mark.parametrize("name", ["plain", "mp4", "locked", "all"])
def test_a_playlist_is_heard_to_its_end(parts: Path, name: str) -> None:
    with shared(parts) as url:
        seconds, tone = heard(f"{url}/{name}.m3u8?token=1")
    assert seconds == pytest.approx(6.0, abs=0.1)
    assert tone == pytest.approx(TONE, abs=1.0)


def test_a_playlist_that_grows_is_followed(parts: Path) -> None:
    asked: list[float] = []

    def grow() -> str:
        asked.append(time.monotonic())
        count = min(6, 2 + len(asked))
        return playlist(*(f"p{i}.ts" for i in range(count)), ended=count == 6)

    with shared(parts, live=grow) as url:
        seconds, tone = heard(f"{url}/live.m3u8")
    assert len(asked) >= 4
    assert seconds == pytest.approx(6.0, abs=0.1)
    assert tone == pytest.approx(TONE, abs=1.0)


def test_a_playlist_opens_no_file_of_this_machine(parts: Path) -> None:
    """What it names after its first part could be decoded, and is not."""
    secret = parts / "p1.ts"
    for evil in (
        f"file://{secret}", str(secret), f"concat:{secret}|{secret}", f"crypto:file://{secret}",
        f"crypto+file://{secret}", f"subfile,,start,0,end,0,,:{secret}", f"async:{secret}",
        f"cache:file://{secret}", "moved.ts", "data:audio/wav;base64,UklGRg==",
        f"../../../../../../../..{secret}",
    ):  # fmt: skip
        with shared(
            parts, bad=lambda evil=evil: playlist("p0.ts", evil), moved=lambda: f"file://{secret}"
        ) as url:
            try:
                seconds, tone = heard(f"{url}/bad.m3u8")
            except AudioError:  # newer ones refuse some as soon as they see them
                continue
        assert seconds < 1.2, evil
        assert tone == pytest.approx(TONE, abs=1.0)


def test_a_playlist_takes_no_key_and_no_list_from_this_machine(parts: Path) -> None:
    key = f"file://{parts / 'key.bin'}"
    nested = f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nfile://{parts / 'plain.m3u8'}\n"
    with shared(
        parts, keyed=lambda: playlist("e0.ts", "e1.ts", key=key), nested=lambda: nested
    ) as url:
        for name in ("keyed", "nested"):
            with pytest.raises(AudioError, match="cannot be opened"):
                heard(f"{url}/{name}.m3u8")


def test_a_file_that_is_a_playlist_is_still_refused(parts: Path, tiny_bundle: Path) -> None:
    done = call(tiny_bundle, "--input", parts / "plain.m3u8")
    assert done.exit_code == 2
    assert done.stderr.count("Error") == 1


def test_what_is_recorded_at_an_address_waits_for_a_slow_machine(
    parts: Path, tiny_bundle: Path
) -> None:
    """A recording comes faster than it is heard, and none of it is dropped."""
    with shared(parts) as url:
        given = ("--input", f"{url}/plain.m3u8", "--no-reconnect", "--hop", 0.02, "--json")
        done = call(tiny_bundle, *given)
    assert done.exit_code == 0, done.stderr
    end = lines_of(done.stdout)[-1]
    assert (end["dropped"], end["missing"]) == (0.0, 0.0)
    assert end["seconds"] == pytest.approx(6.0, abs=0.1)
    assert "at" not in lines_of(done.stdout)[0]
