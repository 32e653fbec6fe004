"""The command as people run it: sound in a pipe, lines out, signals, web servers on both sides."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from clap_export.cli import main
from clap_export.cli.listening import webhook as webhook_
from clap_export.cli.listening.address import without_secrets
from clap_export.cli.listening.inputs import Format, chosen
from clap_export.cli.listening.microphone import Microphone
from clap_export.cli.listening.webhook import Webhook
from runtime import Classifier
from runtime.errors import AudioError
from runtime.listening.backlog import Piece
from tests.clap_export.cli.listening.started import (
    EVERYTHING,
    LABELS,
    PATIENCE,
    answer,
    body,
    call,
    command,
    environment,
    inside,
    lines_of,
    pcm,
    posix,
    running,
    server,
)
from tests.tiny import bundle as tiny

# ------------------------------------------------------------------ standard input and files


def test_raw_samples_in_a_pipe_give_the_timelines_segments(tiny_bundle: Path) -> None:
    samples = pcm(3.3)
    done = call(tiny_bundle, "--rate", 16_000, "--json", "--segments", stdin=samples)
    assert done.exit_code == 0, done.stderr
    found = [line for line in lines_of(done.stdout) if line["type"] == "segment"]
    with Classifier(tiny_bundle, tiny.LABELS) as classifier:
        wanted = classifier.timeline(np.frombuffer(samples, "<i2"), 16_000, hop=0.5)
    assert [(s["start"], s["end"]) for s in found] == [(s.start, s.end) for s in wanted]
    for a, b in zip(found, wanted, strict=True):
        assert [p["label"] for p in a["predictions"]] == [p.label for p in b.predictions]
        assert [p["score"] for p in a["predictions"]] == pytest.approx(
            [p.score for p in b.predictions], abs=1e-5
        )
    assert lines_of(done.stdout)[-1]["type"] == "end"


def test_every_way_in_hears_the_same(tiny_bundle: Path, tmp_path: Path) -> None:
    samples = np.frombuffer(pcm(2.4), "<i2")
    wav, raw = tmp_path / "a.wav", tmp_path / "a.pcm"
    wav.write_bytes(tiny.wav((samples / np.float32(32768)).astype(np.float32)))
    raw.write_bytes(np.repeat((samples / np.float32(32768)).astype("<f4"), 2).tobytes())
    stereo = ("--pcm", "f32le", "--channels", 2, "--rate", 16_000)
    runs = [
        call(tiny_bundle, *EVERYTHING, "--json", "--rate", 16_000, stdin=samples.tobytes()),
        call(tiny_bundle, *EVERYTHING, "--json", *stereo, stdin=raw.read_bytes()),
        call(tiny_bundle, *EVERYTHING, "--json", *stereo, "--input", raw),
        call(tiny_bundle, *EVERYTHING, "--json", "--input", wav),
    ]
    if shutil.which("ffmpeg"):
        runs.append(call(tiny_bundle, *EVERYTHING, "--json", stdin=wav.read_bytes()))
    for run in runs:
        assert run.exit_code == 0, run.stderr
        found = lines_of(run.stdout)
        ended = [line for line in found if line.get("phase") == "ended"]
        assert {line["label"] for line in ended} == set(tiny.LABELS)
        assert {(line["start"], line["end"]) for line in ended} == {(0.0, 2.4)}
        assert (found[-1]["ended"], found[-1]["seconds"]) == ("input", pytest.approx(2.4))
        assert "at" not in ended[0]  # files have no time of day


def test_a_file_on_standard_input_is_read_like_one(tiny_bundle: Path, tmp_path: Path) -> None:
    wav = tmp_path / "a.wav"
    wav.write_bytes(tiny.wav(tiny.clip(1, 16_000)))
    with open(wav, "rb") as file:
        run = subprocess.run(
            command(tiny_bundle, "--json"), stdin=file, capture_output=True, check=False,
            env=environment(),
        )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert (
        lines_of(run.stdout.decode())[-1]["windows"] == 2
    )  # from 0 and 0.5 s, and the window is 0.5 s


def test_people_get_lines_and_a_summary(tiny_bundle: Path) -> None:
    done = inside(tiny_bundle, pcm(1.0), *EVERYTHING, "--only", "dog")
    assert done.exit_code == 0
    (line,) = done.stdout.splitlines()
    assert line.split() == ["0.0", "-", "1.0", "s", line.split()[4], "dog"]
    assert done.stderr.splitlines()[-1] == "1.0 s heard in 2 windows; 1 events."


def test_silence_is_gated_and_counted(tiny_bundle: Path) -> None:
    sound = pcm(1.0) + bytes(32_000 * 4)
    done = inside(tiny_bundle, sound, "--gate", -50, "--json", *EVERYTHING)
    found = lines_of(done.stdout)
    assert {line["end"] for line in found if line.get("phase") == "ended"} == {1.0}
    assert (found[-1]["windows"], found[-1]["silent"]) == (2, 8)


def test_a_machine_that_is_too_slow_drops_and_says_so(tiny_bundle: Path) -> None:
    """A minute comes at once, in pieces of 2 s, and each of its windows takes its time."""
    done = inside(tiny_bundle, pcm(60.0), "--hop", 0.02, "--backlog", 0.5, "--json")
    assert done.exit_code == 0
    found = lines_of(done.stdout)
    end = found[-1]
    gaps = [line for line in found if line["type"] == "gap"]
    assert end["dropped"] > 0
    assert end["missing"] == pytest.approx(end["dropped"])
    assert sum(gap["seconds"] for gap in gaps) == pytest.approx(end["dropped"])
    assert end["seconds"] == pytest.approx(60.0)  # the clock goes on over what was dropped
    people = inside(tiny_bundle, pcm(60.0), "--hop", 0.02, "--backlog", 0.5)
    assert "this machine is too slow" in people.stderr


def test_an_empty_input_is_heard_to_its_end(tiny_bundle: Path) -> None:
    done = inside(tiny_bundle, b"", "--json")
    assert done.exit_code == 0
    (end,) = lines_of(done.stdout)
    assert (end["seconds"], end["windows"], end["ended"]) == (0.0, 0, "input")


# ------------------------------------------------------------------ signals, and what breaks off


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_what_is_open(tiny_bundle: Path, number: int) -> None:
    with running(tiny_bundle, *EVERYTHING, "--rate", 16_000, "--json") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pcm(2.0))
        process.stdin.flush()
        began = [json.loads(process.stdout.readline()) for _ in tiny.LABELS]
        assert {line["phase"] for line in began} == {"began"}
        process.send_signal(number)
        output, errors = process.communicate(timeout=PATIENCE)  # stdin is closed only here
        assert process.returncode == 0, errors
    *ended, end = lines_of(output.decode())
    assert [line["phase"] for line in ended] == ["ended"] * len(tiny.LABELS)
    assert end["ended"] == "signal"
    assert errors == b""


@posix
def test_a_signal_ends_it_while_nothing_comes(tiny_bundle: Path) -> None:
    """The pipe stays open, and silent."""
    with running(tiny_bundle, *EVERYTHING, "--rate", 16_000, "--json", "--segments") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pcm(0.5))
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_what_was_found_before_a_broken_chunk_is_told(tiny_bundle: Path) -> None:
    samples = np.tile(tiny.clip(0, 16_000), 4)
    samples[50_000] = np.nan
    sound = samples.astype("<f4").tobytes()
    done = inside(tiny_bundle, sound, *EVERYTHING, "--json", pcm="f32le")
    assert done.exit_code == 2
    *_, ended, end = lines_of(done.stdout)
    assert ended["phase"] == "ended"
    assert "NaN or infinite" in end["ended"]
    assert end["windows"] >= 1
    (said,) = done.stderr.splitlines()
    assert said.startswith("Error: the chunk at ")
    assert said.removeprefix("Error: ") == end["ended"]


def test_half_a_sample_at_the_end_is_said(tiny_bundle: Path) -> None:
    done = inside(tiny_bundle, pcm(1.0) + b"\1", "--json")
    assert done.exit_code == 0
    assert "ends within a sample" in done.stderr


def test_a_reader_that_goes_away(tiny_bundle: Path) -> None:
    with running(tiny_bundle, "--rate", 16_000, "--json", "--segments") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.write(pcm(5.0))
            process.stdin.close()
        process.stdin = None
        assert process.wait(PATIENCE) == 141


# ------------------------------------------------------------------ what is asked wrongly


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pcm", "s16le"], "add --rate"),
        (["--input", "no-such-file.wav"], "does not exist"),
        (["--input", "no-such-file.pcm", "--pcm", "s16le", "--rate", "8000"], "cannot be read"),
        (["--input", "ftp://host/a.wav"], "addresses begin with http://"),
        (["--input", "file:///etc/passwd"], "addresses begin with"),
        (["--input", "a.wav", "--rate", "8000"], "are for raw samples"),
        (["--input", "http://host/", "--channels", "2"], "are for raw samples"),
        (["--rate", "8000", "--off", "0.9"], "not above `on`"),
        (["--rate", "8000", "--smooth", "2"], "odd number"),
        (["--rate", "8000", "--hop", "0"], "hop=0.0"),
        (["--rate", "8000", "--backlog", "0"], "positive number of seconds"),
        (["--rate", "8000", "--backlog", "nan"], "--backlog=nan: pass"),
        (["--rate", "8000", "--gate", "nan"], "--gate=nan: pass"),
        (["--rate", "8000", "--on", "nan"], "on=nan: pass"),
        (["--rate", "8000", "--on", "50"], "up to 1"),
        (["--rate", "8000", "--smooth", "10001"], "at most 9999"),
        (["--input", ""], "--input is empty"),
        (["--rate", "8000", "--only", "cat"], "'cat': not among the labels"),
        (["--rate", "8000", "--segments"], "--segments needs --json"),
        (["--rate", "8000", "--post", "file:///tmp/x"], "no http:// or https:// address"),
        (["--rate", "8000", "--post", "http://a b/"], "no http:// or https:// address"),
        (["--rate", "8000", "--post", "http://[::1/"], "no http:// or https:// address"),
        (["--rate", "8000", "--post", "http://me:secret@host/"], "are not sent"),
        (["--rate", "99"], "99 Hz"),
    ],
)
def test_one_sentence(tiny_bundle: Path, arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["listen", str(tiny_bundle), "--labels", LABELS, *arguments])
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert "me:secret" not in result.output


def test_one_label_has_nothing_to_be_told_from(tiny_bundle: Path) -> None:
    result = CliRunner().invoke(main, ["listen", str(tiny_bundle), "--labels", "dog"])
    assert result.exit_code == 2
    assert "softmax over one label, 'dog', is always 1" in result.stderr


# ------------------------------------------------------------------ web servers


def test_events_are_posted(tiny_bundle: Path) -> None:
    got: list[Any] = []

    def take(request: BaseHTTPRequestHandler) -> None:
        assert request.headers["Content-Type"] == "application/json"
        got.append(body(request))
        answer(request, 503 if len(got) == 1 else 204)

    with server(take) as url:
        done = inside(tiny_bundle, pcm(1.0), *EVERYTHING, "--json", "--post", url)
    assert done.exit_code == 0, done.stderr
    *events, end = lines_of(done.stdout)
    assert got[1:] == events  # in order; the first one twice, as it was refused at first
    assert got[0] == events[0]
    assert end["post"] == {"posted": len(events), "failed": 0, "dropped": 0}


def test_a_server_that_refuses_is_counted_and_said_once(tiny_bundle: Path) -> None:
    got: list[Any] = []

    def refuse(request: BaseHTTPRequestHandler) -> None:
        got.append(body(request))
        answer(request, 404)

    with server(refuse) as url:
        done = inside(tiny_bundle, pcm(1.0), *EVERYTHING, "--json", "--post", url)
    assert done.exit_code == 0
    end = lines_of(done.stdout)[-1]
    assert end["post"] == {"posted": 0, "failed": 10, "dropped": 0}
    assert len(got) == 10  # no second try: it would help nothing
    (warning,) = [line for line in done.stderr.splitlines() if line.startswith("Warning")]
    assert "404" in warning
    assert "key=1" not in warning


def test_redirections_are_not_followed() -> None:
    seen: list[str] = []

    def redirect(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.path)
        body(request)
        answer(request, 302, Location="http://127.0.0.1:9/elsewhere")

    with server(redirect) as url:
        hook = Webhook(url)
        hook.put({"a": 1})
        hook.close()
    assert (hook.posted, hook.failed, len(seen)) == (0, 1, 1)


def test_a_server_that_hangs_delays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_, "TIMEOUT", PATIENCE)  # the first is on its way all the time
    monkeypatch.setattr(webhook_, "MOST", 5)
    hang = threading.Event()
    with server(lambda _: hang.wait(PATIENCE) and None) as url:
        hook = Webhook(url, first_pause=0.01)
        start = time.monotonic()
        for i in range(100):
            hook.put({"n": i})
        hook.close(patience=0.3)
        assert time.monotonic() - start < PATIENCE / 2
        hang.set()
    assert hook.posted == 0
    assert hook.dropped >= 94
    assert hook.dropped + hook.failed == 100


def test_addresses_are_told_without_their_secrets() -> None:
    assert without_secrets("rtsp://me:pass@host:554/a?key=1") == "rtsp://host:554/a"
    assert without_secrets("cannot open http://host/a (404)") == "cannot open http://host/a (404)"
    assert without_secrets("no address") == "no address"


# ------------------------------------------------------------------ microphones


class FakeSoundDevice:
    """As much of the package sounddevice as is used here: a device that gives some blocks."""

    class PortAudioError(Exception):
        pass

    def __init__(self, blocks: list[tuple[np.ndarray, float]]) -> None:
        self._blocks = blocks
        self.opened: dict[str, Any] = {}

    def query_devices(self, device: object, kind: str) -> dict[str, Any]:
        if device == "none":
            raise ValueError("No input device matching 'none'")
        return {"name": "made up", "default_samplerate": 16_000.0}

    @contextmanager
    def InputStream(self, callback: Any, **options: Any) -> Iterator[None]:
        self.opened = options
        for samples, start in self._blocks:
            callback(samples, len(samples), SimpleNamespace(inputBufferAdcTime=start), None)
        yield


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> FakeSoundDevice:
    block = np.ones((800, 2), np.float32)
    made = FakeSoundDevice([(block, 5.0), (block, 5.051), (block, 5.3), (block, 0.0)])
    monkeypatch.setitem(sys.modules, "sounddevice", made)
    return made


def test_a_microphone_is_heard_until_it_vanishes(device: FakeSoundDevice) -> None:
    microphone = Microphone("usb", None, 2, patience=0.1)
    pieces = []
    with pytest.raises(AudioError, match=r"usb gives no more samples: it may have been unplugged"):
        pieces.extend(microphone.pieces())
    assert device.opened["device"] == "usb"
    assert (device.opened["samplerate"], device.opened["channels"]) == (16_000, 2)


def test_blocks_that_the_system_lost_are_a_gap(device: FakeSoundDevice) -> None:
    found: list[Piece] = []
    with suppress(AudioError):
        found.extend(Microphone("3", None, 2, patience=0.1).pieces())
    assert device.opened["device"] == 3
    assert [p.samples.shape for p in found] == [(2, 800)] * 4
    assert [p.gap for p in found] == pytest.approx([0.0, 0.0, 5.3 - 5.101, 0.0])


def test_there_is_no_such_microphone(device: FakeSoundDevice) -> None:
    with pytest.raises(AudioError, match=r"no microphone 'none'.*python -m sounddevice"):
        Microphone("none", None, None)


def test_the_package_for_microphones_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(AudioError, match=r"clap-export\[mic\]"):
        Microphone("", None, None)


def test_pcm_is_no_microphones_business(device: FakeSoundDevice) -> None:
    with pytest.raises(click.UsageError, match="--pcm"):
        chosen("device:", Format(pcm="s16le"), True)
