"""The packages: what is in them, and that they run in environments that hold nothing else.

``make dist`` builds them for this; without them these tests build their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import runtime
from tests import tiny
from tests.places import ROOT
from tests.tiny import bundle as tinybundle

pytestmark = pytest.mark.slow

NEEDED = {
    "runtime/py.typed",
    "runtime/backends/cuda/kernels.ptx",
    "clap_export/py.typed",
    *(f"train/recipes/{path.name}" for path in (ROOT / "train" / "recipes").glob("*.toml")),
    *(f"train/tasks/{path.name}" for path in (ROOT / "train" / "tasks").glob("*.txt")),
}
PACKAGES = ("runtime", "clap_export", "train")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel and the sdist."""
    folder = ROOT / "dist"
    if not folder.is_dir():
        pytest.importorskip("build", reason='pip install ".[dist]"')
        folder = tmp_path_factory.mktemp("dist")
        subprocess.run(
            [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)],
            check=True, capture_output=True,
        )  # fmt: skip
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return {"wheel": wheel, "sdist": sdist}


def names(path: Path) -> set[str]:
    """Files of a package."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as file:
            return set(file.namelist())
    with tarfile.open(path) as file:
        return {member.name.partition("/")[2] for member in file if member.isfile()}


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_everything_needed_is_in_it_and_no_tests(built: dict[str, Path], kind: str) -> None:
    found = names(built[kind])
    sources = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    assert sources | NEEDED <= found
    strange = {name for name in found if name.startswith(("tests", "benchmarks", "models", "docs"))}
    assert strange == set()


def test_the_version_has_one_source(built: dict[str, Path]) -> None:
    for path in built.values():
        assert path.name.startswith(f"clap_export-{runtime.__version__}")


class Environment:
    """An empty environment with the wheel and some of its extras."""

    def __init__(self, folder: Path, wheel: Path, extras: str) -> None:
        venv.create(folder, with_pip=True)
        self._bin = folder / "bin"
        self._cwd = folder
        self.run(
            "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            "-c", ROOT / "constraints.txt", f"{wheel}{extras}",
        )  # fmt: skip

    def run(self, program: str, *arguments: object, code: int = 0) -> str:
        """What a program of it prints; it sees nothing of this checkout."""
        done = subprocess.run(
            [self._bin / program, *map(str, arguments)], cwd=self._cwd, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        )  # fmt: skip
        assert done.returncode == code, done.stdout
        return done.stdout

    def has(self, package: str) -> bool:
        """Whether a module can be imported."""
        found = f"import importlib.util as u; print(u.find_spec({package!r}) is not None)"
        return self.run("python", "-c", found).strip() == "True"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.wav"
    path.write_bytes(tinybundle.wav(tinybundle.clip(9000), tinybundle.RATE))
    return path


PREDICT = """
import sys, runtime
try:
    with runtime.Classifier(sys.argv[1], ["dog", "cat"], providers=(sys.argv[3],)) as classifier:
        print(len(classifier.predict(sys.argv[2])), "predictions")
except runtime.ClapError as error:
    print(error)
"""


def test_without_an_engine_a_sentence_says_what_to_install(
    built: dict[str, Path], tiny_bundle: Path, clip: Path, tmp_path: Path
) -> None:
    env = Environment(tmp_path / "env", built["wheel"], "")
    said = env.run("python", "-c", PREDICT, tiny_bundle, clip, "cpu")
    assert "clap-export[cpu]" in said
    assert "Traceback" not in said
    assert "clap-export[cli]" in env.run("clap-export", "--help", code=1)


@pytest.mark.parametrize(("extra", "package"), [("cpu", "onnxruntime"), ("openvino", "openvino")])
def test_an_engine_alone_predicts(
    built: dict[str, Path], tiny_bundle: Path, clip: Path, tmp_path: Path, extra: str, package: str
) -> None:
    env = Environment(tmp_path / "env", built["sdist" if extra == "cpu" else "wheel"], f"[{extra}]")
    said = env.run("python", "-c", PREDICT, tiny_bundle, clip, extra)
    assert said.strip().endswith("2 predictions"), said
    engines = [name for name in ("onnxruntime", "openvino", "tensorrt") if env.has(name)]
    assert engines == [package]
    assert not env.has("torch")
    assert not env.has("click")


def test_the_commands_run(
    built: dict[str, Path], tiny_bundle: Path, clip: Path, tmp_path: Path
) -> None:
    env = Environment(tmp_path / "env", built["wheel"], "[cli,cpu]")
    said = env.run("clap-export", "classify", tiny_bundle, clip, "--labels", "dog,cat", "--json")
    assert '"predictions"' in said
    assert runtime.__version__ in env.run("clap-export", "--version")
    ckpt = tiny.save(tmp_path / "m.safetensors")
    said = env.run("clap-export", "--ckpt", ckpt, "--out", tmp_path / "out", code=2)
    assert "pip install clap-export[export]" in said


def test_exporting_runs_and_a_gpu_user_gets_one_onnx_runtime(
    built: dict[str, Path], tmp_path: Path
) -> None:
    """The whole of torch is installed: minutes, and gigabytes of disk."""
    if "CLAP_INSTALL_TORCH" not in os.environ:
        pytest.skip("set CLAP_INSTALL_TORCH=1 to install torch into an empty environment")
    env = Environment(tmp_path / "env", built["wheel"], "[export,cpu]")
    ckpt = tiny.save(tmp_path / "m.safetensors")
    env.run("clap-export", "--ckpt", ckpt, "--out", tmp_path / "out")
    assert "passed" in env.run("clap-export", "verify", tmp_path / "out", "--ckpt", ckpt)


@pytest.mark.parametrize("extras", ["cli,gpu", "export,gpu", "train,gpu", "cli,cpu", "openvino"])
def test_pip_resolves_to_exactly_one_engine(built: dict[str, Path], extras: str) -> None:
    """What pip would install, without installing it."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    command += ["--disable-pip-version-check", "--report", "-", f"{built['wheel']}[{extras}]"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no registry here, or it lacks a package: {done.stderr.strip()[-200:]}")
    import json

    found = {one["metadata"]["name"] for one in json.loads(done.stdout)["install"]}
    engines = found & {"onnxruntime", "onnxruntime-gpu", "openvino"}
    want = {"gpu": "onnxruntime-gpu", "cpu": "onnxruntime", "openvino": "openvino"}
    assert engines == {want[extras.split(",")[-1]]}
