"""How the server ends."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import pytest

from tests.clap_export.serve.running import PATIENCE, open_requests, process, until
from tests.clap_export.serve.wire import answer_of, head
from tests.tiny import bundle as tiny

SOUND = tiny.wav(tiny.clip(1))
posix = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")


def connects(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE):
            return True
    except ConnectionRefusedError:
        return False


@posix
def test_a_signal_lets_requests_end(tiny_bundle: Path) -> None:
    with process(tiny_bundle, "--labels", "dog,sea") as (made, address):
        port = int(address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as open_:
            open_.sendall(head(len(SOUND)) + SOUND[:100])
            until(lambda: open_requests(address) == 1)
            made.send_signal(signal.SIGTERM)
            until(lambda: not connects(port))
            open_.sendall(SOUND[100:])
            assert b"predictions" in answer_of(open_)
        assert made.wait(PATIENCE) == 0
        assert made.stderr is not None
        lines = [json.loads(line) for line in made.stderr]
        assert [line["event"] for line in lines] == ["draining", "request", "ended"]


@posix
def test_patience_ends(tiny_bundle: Path) -> None:
    with process(tiny_bundle, "--drain-seconds", "0.5") as (made, address):
        port = int(address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as open_:
            open_.sendall(head(1000))
            until(lambda: open_requests(address) == 1)
            made.send_signal(signal.SIGINT)
            assert made.wait(PATIENCE) == 0


@posix
def test_a_second_signal_ends_at_once(tiny_bundle: Path) -> None:
    with process(tiny_bundle) as (made, address):
        port = int(address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as open_:
            open_.sendall(head(1000))
            until(lambda: open_requests(address) == 1)
            made.send_signal(signal.SIGTERM)
            assert made.stderr is not None
            # One that is sent before the first was handled would be the same one.
            assert json.loads(made.stderr.readline())["event"] == "draining"
            assert made.poll() is None
            made.send_signal(signal.SIGTERM)
            assert made.wait(PATIENCE) == 143


def test_what_cannot_be_served_is_one_sentence(tiny_bundle: Path, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from clap_export.cli import main

    keys = tmp_path / "keys"
    keys.write_text("short\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments, words in (
            (["--port", port], "cannot be had"),
            (["--host", "192.0.2.1", "--port", 0], "cannot be had"),
            (["--api-key-file", keys], "16 characters"),
            (["--api-key-file", tmp_path / "none"], "does not exist"),
            (["--banks", tmp_path / "none"], "no folder"),
            (["--allow-banks"], "--banks DIR"),
            (["--labels", tmp_path / "none.txt"], "no label file"),
            (["--windows", "nothing"], "windows="),
            (["--provider", "abacus"], "unknown provider"),
        ):
            words_given = ["serve", str(tiny_bundle), *map(str, arguments)]
            done = CliRunner().invoke(main, words_given)
            assert done.exit_code == 2, (arguments, done.output, done.exception)
            assert words in done.output
