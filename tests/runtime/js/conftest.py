"""The package as npm builds it: once, for whoever of the tests' processes comes first."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.programs import without

JS = ROOT / "runtime" / "js"
CHROMIUM = "/usr/bin/chromium"


@pytest.fixture(scope="session")
def js() -> Path:
    """Folder of the package, built."""
    if shutil.which("npm") is None:
        without("node", "JavaScript needs node and npm, which are not installed")
    lock, made = JS / "package-lock.json", JS / "node_modules" / ".package-lock.json"
    with lock.open() as held:  # other processes of these tests wait
        fcntl.flock(held, fcntl.LOCK_EX)
        if not made.exists() or made.stat().st_mtime < lock.stat().st_mtime:
            npm("ci")
        # Once in a run of the tests: others may be reading it.
        run, built = os.environ.get("PYTEST_XDIST_TESTRUNUID"), made.with_name(".built")
        if run is None or not built.exists() or built.read_text() != run:
            npm("run", "--silent", "build")
            built.write_text(run or "")
    return JS


def npm(*words: str) -> str:
    done = subprocess.run(["npm", *words], cwd=JS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def kit(exported_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conformance kit of a tiny bundle."""
    folder = tmp_path_factory.mktemp("kit") / "kit"
    conformance(str(exported_bundle), "-o", str(folder))
    return folder


def conformance(*words: str) -> str:
    """What the command says, of a kit or of a reader that passes."""
    command = [sys.executable, "-m", "clap_export", "conformance", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def chromium() -> str:
    if not Path(CHROMIUM).exists():
        without("chromium", "the browser's tests need Debian's chromium")
    return CHROMIUM
