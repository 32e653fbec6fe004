"""How ``python -m train`` ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests import tiny
from tests.places import ROOT
from tests.tiny import run as tinyrun
from train.config.data import TaskConfig

ALONE = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}


def start(*arguments: object, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "train", *map(str, arguments)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**ALONE, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **more},
    )  # fmt: skip


def ended(*arguments: object, **more: str) -> tuple[int, str, str]:
    process = start(*arguments, **more)
    out, err = process.communicate(timeout=400)
    return process.returncode, out, err


def test_help_starts_without_torch() -> None:
    block = "import sys\nfor name in ('torch', 'numpy', 'transformers'): sys.modules[name] = None\n"
    code = f"{block}sys.argv = ['train', '--help']\nfrom train.__main__ import entry\nentry()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage: python -m train" in done.stdout


def test_bad_input_is_one_sentence(tmp_path: Path) -> None:
    for arguments in (
        ("missing.toml",),
        ("run", tmp_path),
        ("listing", "missing.toml", "a", "-o", "b"),
    ):
        code, out, err = ended(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("Error: config ")
        assert err.count("\n") == 1
    assert ended("trian")[0] == 2
    assert ended("run")[0] == 2


def test_names_are_shown_and_do_not_act_on_the_terminal(tmp_path: Path) -> None:
    name = os.fsdecode(b"\x1b[2J\xe2\x80\xae\xff.toml")
    for encoding in ("utf-8", "ascii"):
        code, _, err = ended(tmp_path / name, PYTHONIOENCODING=encoding)
        assert code == 2
        assert "\\x1b[2J\\u202e\\udcff.toml cannot be read" in err
        assert "\x1b" not in err


@pytest.mark.slow  # five starts of torch
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_a_run_and_nothing_half_written_stays(
    number: signal.Signals, tmp_path: Path
) -> None:
    """In the middle of an epoch. Another run may then go on in the folder."""
    base = tinyrun.config(tmp_path, epochs=10**6, steps_per_epoch=1, validate_every=10**6)
    path = tinyrun.write(
        replace(base, init=str(tiny.save(tmp_path / "start.safetensors")), model=None, tasks=()),
        tmp_path / "run.toml",
    )
    process = start(path)
    try:
        last = base.folder / "last.pt"
        deadline = time.monotonic() + 300
        while not last.is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert last.is_file()
        code, _, err = ended(path)  # another one, meanwhile
        assert code == 2
        assert "is being written by another process" in err
        process.send_signal(number)
        process.communicate(timeout=200)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    names = {
        "last.pt", "metrics.jsonl", "steps.jsonl", "model.safetensors", "data.json", "config.json"
    }  # fmt: skip
    assert {file.name for file in base.folder.iterdir()} <= names


def test_candidates_that_are_absent_are_said_before_any_work(tmp_path: Path) -> None:
    base = tinyrun.config(tmp_path, epochs=1, steps_per_epoch=1)
    task = TaskConfig("a", base.listings[0], str(tmp_path / "none.txt"))
    path = tinyrun.write(
        replace(
            base, init=str(tiny.save(tmp_path / "start.safetensors")), model=None, tasks=(task,)
        ),
        tmp_path / "run.toml",
    )
    code, _, err = ended(path)
    assert code == 2
    assert "Error: candidates" in err


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_a_reader_that_went_away_is_141_and_quiet() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "train", "--help"], cwd=ROOT, text=True, env=ALONE,
        stdout=writing, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_missing_package_is_one_sentence(tmp_path: Path) -> None:
    block = "import sys\nfor name in ('torch', 'torchaudio'): sys.modules[name] = None\n"
    arguments = ["train", "yamnet", str(tmp_path), "-o", str(tmp_path / "out")]
    code = f"{block}sys.argv = {arguments}\nfrom train.__main__ import entry\nentry()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install clap-export[" in done.stderr
    assert "Traceback" not in done.stderr
