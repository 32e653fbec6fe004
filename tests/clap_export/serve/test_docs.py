"""The commands of the page, as a stranger types them, against the command that it starts."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clap_export.serve.running import process
from tests.docs.pages import BLOCKS, TEXTS
from tests.places import ROOT
from tests.tiny import bundle as tiny

(BLOCK,) = [b for b in BLOCKS if b.page == "serve.md" and b.language == "sh"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_of_the_page(tiny_bundle: Path, tmp_path: Path) -> None:
    (_, serve, *asked, stream) = BLOCK.lines
    options = shlex.split(serve)[3:]
    assert shlex.split(serve)[:3] == ["clap-export", "serve", "bundle"]
    for name in ("street.wav", "long.wav"):
        (tmp_path / name).write_bytes(tiny.wav(tiny.clip(1, 5 * tiny.WINDOW)))
    with process(tiny_bundle, *options) as (_, address):
        for line in asked:
            assert "http://127.0.0.1:8000/" in line
            words = shlex.split(line.replace("http://127.0.0.1:8000", address))
            command = [words[0], "-sS", "--fail-with-body", *words[1:]]
            done = subprocess.run(
                command, cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, (line, done.stdout, done.stderr)
            if "event-stream" in line:
                assert "event: result" in done.stdout
            else:
                assert json.loads(done.stdout)["model"] == "tiny"
        host = address.removeprefix("http://")
        program = shlex.split(stream.replace("127.0.0.1:8000", host))[1:]
        done = subprocess.run(
            [sys.executable, str(ROOT / program[0]), *program[1:]],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert found[0]["labels"] == ["dog barking", "rain"]
        assert {message["type"] for message in found} >= {"segment", "end"}


def test_the_table_of_errors_is_complete() -> None:
    """Every kind that the code knows stands on the page, with its status."""
    rows = re.findall(r"^\| ([\d, ]+) \| (`.+) \|$", TEXTS["serve.md"], re.MULTILINE)
    said = {kind for _, text in rows for kind in re.findall(r"`(\w+)`", text)}
    code = "\n".join(
        path.read_text("utf-8") for path in (ROOT / "clap_export" / "serve").rglob("*.py")
    )
    kinds = {kind for _, kind in re.findall(r"Problem\(\s*(\d{3}),\s*\"(\w+)\"", code)}
    assert kinds - {"fault", "samples", "message"} <= said
    statuses = {int(s) for s, _ in re.findall(r"Problem\(\s*(\d{3}),\s*\"(\w+)\"", code)}
    assert statuses - {500} <= {int(s) for text, _ in rows for s in text.split(",")}
