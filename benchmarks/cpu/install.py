"""What the runtime and transformers weigh: packages on disk, and the time of their imports.

    python benchmarks/cpu/install.py

Sizes are those of the distributions installed in this environment, with all that they require; a
CUDA build of torch is counted without NVIDIA's libraries. Import times are medians of fresh
processes. Writes install.json beside this file.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from statistics import median

RUNS = 7
STACKS = {
    "clap-export's runtime": (
        ["numpy", "onnxruntime", "tokenizers", "soundfile", "soxr"],
        "import runtime, onnxruntime, soundfile, soxr, tokenizers",
    ),
    "the same, for saved banks and taggers": (
        ["numpy", "onnxruntime", "soundfile", "soxr"],
        "import runtime, onnxruntime, soundfile, soxr",
    ),
    "a tagger in plain ONNX Runtime": (["numpy", "onnxruntime"], "import numpy, onnxruntime"),
    "clap-export's runtime on OpenVINO": (
        ["numpy", "openvino", "tokenizers", "soundfile", "soxr"],
        "import runtime, openvino, soundfile, soxr, tokenizers",
    ),
    "transformers": (
        ["transformers", "torch", "soundfile", "soxr"],
        "import torch, soundfile, soxr; from transformers import ClapModel, ClapFeatureExtractor",
    ),
}


def required(names: list[str]) -> set[str]:
    """Distributions and everything they require, extras apart."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found or name.startswith(("nvidia-", "cuda-", "triton")):
            continue
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # not needed on this system
        found.add(name)
        waiting += [re.split(r"[ ;<>=!~\[(]", need)[0] for need in needs if "extra ==" not in need]
    return found


def size(names: set[str]) -> int:
    """Bytes of all their files."""
    files = (file for name in names for file in metadata.files(name) or [])
    paths = {Path(str(file.locate())).resolve() for file in files}
    return sum(path.stat().st_size for path in paths if path.is_file())


def seconds(code: str) -> float:
    """Of an import in a fresh process, Python's own start not counted."""
    timed = f"import time; a = time.perf_counter(); {code}; print(time.perf_counter() - a)"
    command = [sys.executable, "-c", timed]
    runs = [subprocess.run(command, capture_output=True, check=True) for _ in range(RUNS)]
    return median(float(run.stdout.split()[-1]) for run in runs)


def main() -> None:
    """Measure and write."""
    found = {}
    for name, (packages, code) in STACKS.items():
        names = required(packages)
        versions = {package: metadata.version(package) for package in packages}
        found[name] = {
            "distributions": len(names),
            "bytes": size(names),
            "import_seconds": seconds(code),
            "versions": versions,
        }
    text = json.dumps({"python": sys.version.split()[0], "stacks": found}, indent=1)
    Path(__file__).with_suffix(".json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
