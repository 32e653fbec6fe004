"""Which packages each extra brings: exactly one engine, and never two that overwrite each other."""

from __future__ import annotations

import re
import sys

import pytest

from tests.places import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
ENGINES = {
    "cpu": {"onnxruntime"},
    "gpu": {"onnxruntime-gpu"},
    "openvino": {"openvino"},
    "trt": {"tensorrt"},
    "rtx": {"tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu13-bindings"},
}
EVERY_ENGINE = set().union(*ENGINES.values())


def brought(*extras: str) -> set[str]:
    """Names of the distributions that ``pip install ".[…]"`` asks for itself."""
    names: set[str] = set()
    for line in PROJECT["dependencies"] + [line for extra in extras for line in EXTRAS[extra]]:
        found = re.match(r"([\w-]+)(?:\[([\w,-]+)\])?", line)
        assert found is not None
        if found[1] == PROJECT["name"]:
            names |= brought(*found[2].split(","))
        else:
            names.add(found[1])
    return names


def test_the_runtime_alone_brings_no_engine() -> None:
    assert brought() == {"numpy", "tokenizers", "soundfile", "soxr"}


@pytest.mark.parametrize("extra", sorted(ENGINES))
def test_an_engine_extra_brings_its_engine_alone(extra: str) -> None:
    assert brought(extra) & EVERY_ENGINE == ENGINES[extra]


@pytest.mark.parametrize("extra", sorted(set(EXTRAS) - set(ENGINES) - {"dev"}))
def test_no_other_extra_brings_one(extra: str) -> None:
    assert brought(extra) & EVERY_ENGINE == set()


@pytest.mark.parametrize("extra", ["cli", "export", "train", "lora"])
def test_a_gpu_user_gets_exactly_one_onnx_runtime(extra: str) -> None:
    found = brought(extra, "gpu")
    assert {name for name in found if name.startswith("onnxruntime")} == {"onnxruntime-gpu"}


def test_who_works_on_it_gets_the_engines_of_a_cpu() -> None:
    assert {"onnxruntime", "openvino"} <= brought("dev")
    assert "onnxruntime-gpu" not in brought("dev")
