"""A tiny bundle with engines of the fake TensorRT, and the machine that runs them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runtime import bundle
from runtime.backends import trt
from runtime.backends.cuda import driver
from runtime.backends.trt.dialect import Dialect
from runtime.engines import Engine, Engines, Profile, Range
from runtime.manifest import FileEntry, read_manifest, write_manifest
from tests.fakes import tensorrt as faketrt
from tests.fakes.cuda import FakeCuda
from tests.tiny import bundle as tinybundle

VERSION = "11.4.0.106"
MAX_BATCH = 4


@dataclass
class Machine:
    """What the backend finds."""

    cuda: FakeCuda
    trt: Any


def engine(name: str, inputs: tuple[str, ...], low: int, high: int, **changes: Any) -> Engine:
    """With a profile for single rows and one for batches."""
    profiles = [
        Profile({n: Range((1, low), (1, high), (batch, high)) for n in inputs})
        for batch in (1, MAX_BATCH)
    ]
    made = Engine(
        file=f"{name}.engine",
        library="tensorrt",
        version=VERSION,
        compute_capabilities=("9.0",),
        device="Fake GPU",
        hardware="none",
        version_compatible=False,
        tf32=False,
        precision="fp32",
        layers={"FLOAT": 9},
        profiles=tuple(profiles),
    )
    return dataclasses.replace(made, **changes)


def build(folder: Path, **changes: Any) -> Path:
    """Write the bundle, with changes to its engines' records; returns the folder."""
    tinybundle.build(folder)
    engines = Engines(
        engine("audio", ("waveform",), tinybundle.WINDOW, tinybundle.WINDOW, **changes),
        engine("text", ("input_ids", "attention_mask"), 2, tinybundle.MAX_TOKENS, **changes),
    )
    files = dict(read_manifest(folder).files)
    for made, graph in ((engines.audio, "audio.onnx"), (engines.text, "text.onnx")):
        path = folder / made.file
        path.write_bytes(faketrt.plan(folder / graph, made))
        files[made.file] = FileEntry(bundle.sha256_file(path), path.stat().st_size)
    manifest = dataclasses.replace(read_manifest(folder), files=files, engines=engines)
    write_manifest(folder, manifest)
    return folder


def install(monkeypatch: pytest.MonkeyPatch, cuda: FakeCuda, version: str = VERSION) -> Machine:
    """Make a fake GPU and a fake TensorRT this machine's."""
    module = faketrt.module(cuda, version)
    monkeypatch.setattr(driver, "bindings", lambda: driver.started(cuda))
    monkeypatch.setattr(trt, "installed", lambda library: Dialect(module, library))
    return Machine(cuda, module)
