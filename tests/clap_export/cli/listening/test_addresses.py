"""Streams by their address: stations, cameras and playlists, on this machine."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clap_export.cli.listening.address import Address
from runtime.errors import AudioError
from runtime.listening.backlog import Piece
from tests.clap_export.cli.listening.started import (
    EVERYTHING,
    answer,
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
    assert 0.4 + 0.8 + 1.6 - 1.5 < gap < 10
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
        rest, errors = process.communicate(timeout=20)
        assert process.returncode == 0, errors
    found += lines_of(rest.decode())
    gap = next(line for line in found if line["type"] == "gap")
    assert gap["start"] == pytest.approx(1.5, abs=0.1)
    assert gap["seconds"] > 1.0
    first = next(line for line in found if line["type"] == "event")
    assert first["at"].endswith("Z")  # a live input has a time of day
    assert found[-1]["missing"] == pytest.approx(gap["seconds"])
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
