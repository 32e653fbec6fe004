"""The readers of bundles, as commands that a conformance kit can be checked with.

Each is named by its language, its engine and where it runs; what has to be built is built on the
way, in a folder beside the ARM machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from benchmarks.arm.machine import TRIPLET, Machine, make
from runtime.cores import usable_cores

ROOT = Path(__file__).parents[2]
COMPILER = f"{TRIPLET}-g++"
MODULE = "runtime.conformance"
HERE, EMULATED = "x86-64", "aarch64, emulated"


@dataclass(frozen=True)
class Reader:
    """One of them.

    Attributes:
        language: and what else tells it from the others.
        engine: that runs the graphs.
        where: the processor.
    """

    language: str
    engine: str
    where: str


READERS = {
    "python": Reader("Python", "ONNX Runtime", HERE),
    "python-openvino": Reader("Python", "OpenVINO", HERE),
    "cpp": Reader("C++", "OpenVINO", HERE),
    "node": Reader("JavaScript in Node", "ONNX Runtime", HERE),
    "chromium": Reader("JavaScript in Chromium", "ONNX Runtime (WASM)", HERE),
    "arm-python": Reader("Python", "ONNX Runtime", EMULATED),
    "arm-python-openvino": Reader("Python", "OpenVINO", EMULATED),
    "arm-cpp": Reader("C++", "OpenVINO", EMULATED),
}


@dataclass(frozen=True)
class Workshop:
    """Where readers are made; root's rights are needed for the ARM machine alone."""

    folder: Path

    @cached_property
    def machine(self) -> Machine:
        """Made when it is first asked for."""
        return make(self.folder / "machine")

    def command(self, name: str) -> list[str]:
        """Of the reader of this name.

        Raises:
            SystemExit: it cannot be made here.
        """
        language = name.removeprefix("arm-").removesuffix("-openvino")
        if language in ("node", "chromium"):
            return self._javascript(language)
        emulated = name.startswith("arm-")
        if language == "cpp":
            program = self._cpp_for_arm() if emulated else self._cpp()
            return self.machine.command(program) if emulated else [str(program)]
        python = self.machine.python(ROOT) if emulated else [sys.executable]
        return [*python, "-m", MODULE, "openvino" if name.endswith("openvino") else "cpu"]

    def _cpp(self) -> Path:
        spec = find_spec("openvino")
        if spec is None or spec.origin is None:
            raise SystemExit("the C++ reader needs OpenVINO: pip install openvino")
        return self._built("here", Path(spec.origin).parent, [], {})

    def _cpp_for_arm(self) -> Path:
        compiler, root = shutil.which(COMPILER), self.machine.root
        if compiler is None:
            raise SystemExit(f"missing here: apt-get install g++-{TRIPLET}")
        options = [
            "-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
            f"-DCMAKE_CXX_COMPILER={compiler}", f"-DCMAKE_SYSROOT={root}",
        ]  # fmt: skip
        folders = (root / "usr" / "lib" / TRIPLET, root / "usr" / "share")
        environment = {
            "PKG_CONFIG_SYSROOT_DIR": str(root),
            "PKG_CONFIG_LIBDIR": os.pathsep.join(str(one / "pkgconfig") for one in folders),
        }
        return self._built("arm", self.machine.site / "openvino", options, environment)

    def _built(
        self, name: str, openvino: Path, options: list[str], environment: dict[str, str]
    ) -> Path:
        build = self.folder / f"build-{name}"
        source, cores = str(ROOT / "runtime" / "cpp"), str(usable_cores())
        found = [f"-DOpenVINO_DIR={openvino / 'cmake'}", *options]
        for command in (
            ["cmake", "-S", source, "-B", str(build), *found],
            ["cmake", "--build", str(build), "-j", cores, "--target", "clap-conformance"],
        ):
            done = subprocess.run(
                command, capture_output=True, text=True, check=False,
                env={**os.environ, **environment},
            )  # fmt: skip
            if done.returncode:
                said = (done.stdout + done.stderr)[-2000:]
                raise SystemExit(f"the C++ reader cannot be built ({build}): {said}")
        return build / "clap-conformance"

    def _javascript(self, name: str) -> list[str]:
        if not (ROOT / "runtime" / "js" / "dist").is_dir():
            raise SystemExit("JavaScript is not built: cd runtime/js; npm ci; npm run build")
        if name == "node":
            return ["node", str(ROOT / "runtime" / "js" / "dist" / "conformance" / "command.js")]
        page = self.folder / "page"
        page.mkdir(exist_ok=True)
        program = ROOT / "tests" / "runtime" / "js" / "chromium_reader.mjs"
        return ["node", str(program), str(page)]
