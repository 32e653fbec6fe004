"""Builds the C++ runtime for its tests, or says what is missing for that."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

from tests.places import ROOT

SOURCE = ROOT / "runtime" / "cpp"
# Ignored by git; what is there from before is built upon.
FOLDER = Path(os.environ.get("CLAP_CPP_BUILD", ROOT / "build" / "cpp"))
LIBRARIES = ("sndfile", "soxr", "libutf8proc", "zlib")
PACKAGES = "cmake g++ pkg-config libsndfile1-dev libsoxr-dev libutf8proc-dev zlib1g-dev"


def missing() -> str | None:
    """Why it cannot be built here, if it cannot."""
    for program in ("cmake", "c++", "pkg-config"):
        if shutil.which(program) is None:
            return f"the C++ runtime needs {program}: apt-get install {PACKAGES}"
    for library in LIBRARIES:
        if subprocess.run(["pkg-config", "--exists", library], check=False).returncode:
            return f"the C++ runtime needs {library}: apt-get install {PACKAGES}"
    if openvino() is None:
        return "the C++ runtime needs OpenVINO: pip install openvino"
    return None


def openvino() -> Path | None:
    """CMake files of OpenVINO, which its wheel brings."""
    found = importlib.util.find_spec("openvino")
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "cmake"
    return folder if folder.is_dir() else None


def built() -> Path:
    """Folder of the programs, which are built if they are not there or not new.

    Raises:
        AssertionError: it cannot be built; the compiler's words are in it.
    """
    options = [
        "-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O1", "-DCLAP_TESTS=ON",
        f"-DOpenVINO_DIR={openvino()}",
    ]  # fmt: skip
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as held:  # other processes of these tests wait
        fcntl.flock(held, fcntl.LOCK_EX)
        _run("cmake", "-S", str(SOURCE), "-B", str(FOLDER), *options)
        _run("cmake", "--build", str(FOLDER), "--parallel", str(os.cpu_count() or 1))
    return FOLDER


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-4000:]}{done.stderr[-4000:]}"
