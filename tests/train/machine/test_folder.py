"""A run's folder has one run in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runtime.errors import ClapError
from tests.places import ROOT
from train.machine.distributed import Ranks
from train.machine.folder import run_folder

HOLDER = """
import sys
from pathlib import Path
from train.machine.folder import run_folder
with run_folder(Path(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_kept_out_until_the_first_ends(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "run"
    command = [sys.executable, "-c", HOLDER, str(out)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"in\n"
        with pytest.raises(ClapError, match="is being written by another process"), run_folder(out):
            pass
        with run_folder(out, Ranks(1, 2)):  # the others of one run do not write
            pass
        holder.kill()
    with run_folder(out):
        assert out.is_dir()
        assert not list(out.iterdir())  # the lock lies beside it


def test_the_working_directory_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with run_folder(Path(".")):
        pass


@pytest.mark.parametrize("name", ["file", "file/below", "a\0b", "x" * 300, "circle/run"])
def test_what_cannot_be_a_folder_is_said(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(ClapError, match="cannot be made a folder"), run_folder(tmp_path / name):
        pass
