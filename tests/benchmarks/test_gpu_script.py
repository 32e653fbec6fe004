"""The script for a GPU machine, where there is none: what can run runs, the rest says why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.manifest import read_manifest
from tests.places import ROOT

pytestmark = pytest.mark.slow

SCRIPT = ROOT / "benchmarks" / "gpu" / "run.py"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it with tiny models, and with no GPU to be seen."""
    command = [sys.executable, str(SCRIPT), *arguments, "--tiny", "--models", "htsat-tiny"]
    command += ["--out", str(folder / "out"), "--work", str(folder / "work")]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip


def found(folder: Path, step: str) -> dict[str, Any]:
    return json.loads((folder / "out" / f"{step}.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """After the steps that need no GPU."""
    made = tmp_path_factory.mktemp("gpu")
    done = run(made, "env", "checkpoints", "export")
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def test_env_says_that_there_is_no_gpu(folder: Path) -> None:
    env = found(folder, "env")
    assert env["passed"]
    assert env["found"]["gpu"] is None
    assert "CUDA was asked for, but" in env["found"]["why"]
    assert env["found"]["packages"]["numpy"] == np.__version__


def test_checkpoints_are_exported_in_both_precisions(folder: Path) -> None:
    assert (folder / "work" / "checkpoints" / "htsat-tiny.safetensors").is_file()
    for precision in ("fp32", "fp16"):
        manifest = read_manifest(folder / "work" / "bundles" / f"htsat-tiny-{precision}")
        assert manifest.audio_graph.precision == precision
        assert found(folder, "export")["found"][f"htsat-tiny {precision}"]["passed"]


def test_steps_that_need_a_gpu_say_why_and_stop_no_others(folder: Path) -> None:
    done = run(folder, "build", "bench", "frontend", "soak", "edges")
    assert done.returncode == 1
    build = found(folder, "build")["found"]["htsat-tiny-fp16"]
    assert (build["passed"], build["exit_code"], build["engines"]) == (False, 2, None)
    assert "CUDA was asked for, but" in build["said"]
    bench = found(folder, "bench")["found"]["htsat-tiny"]
    assert bench["exit_code"] == 2
    assert "CUDA was asked for, but" in bench["said"]
    assert "cannot use the GPU" in found(folder, "frontend")["found"]["htsat-tiny"]["why"]
    for step, one in (("soak", "htsat-tiny-fp16"), ("edges", "htsat-tiny fp16")):
        part = found(folder, step)["found"][one]
        assert not part["passed"]
        assert "provider 'tensorrt' was asked for" in part["why"] or "driver" in part["why"]


def test_soak_and_edges_run_on_the_cpu(folder: Path) -> None:
    done = run(folder, "soak", "edges", "--provider", "cpu", "--count", "40")
    assert done.returncode == 0, done.stdout
    soak = found(folder, "soak")["found"]["htsat-tiny-fp16"]
    assert (soak["asked"], soak["done"]) == (40, 40)
    assert [one["after"] for one in soak["memory"]] == list(range(2, 41, 2))
    edges = found(folder, "edges")["found"]["htsat-tiny fp16"]["batch 1"]
    assert edges["finite"]
    assert {"silence", "full-scale sine", "DC"} <= edges["cosines"].keys()


def test_a_training_step_is_timed_beside_transformers(tmp_path: Path) -> None:
    done = run(tmp_path, "training", "--training", "--batch 2 --runs 2 --seconds 0.2")
    assert done.returncode == 0, done.stdout + done.stderr
    steps = found(tmp_path, "training")["found"]["found"]["steps"]
    assert [step["amp"] for step in steps] == ["off", "bf16"]
    for step in steps:
        one, *others = step["losses"]
        assert len(others) == 2
        assert others == pytest.approx([one] * 2, abs=1e-4)
        for name, times in step["candidates"].items():
            assert times["runs"] == (2 if "extractor" in name else 3)  # as many in each round
            rate = 2 / times["median_ms"] * 1e3
            assert times["samples_per_second"] == pytest.approx(rate)
            if "extractor" not in name:
                assert times["matmul_share"] == pytest.approx(
                    step["gflop"] / times["median_ms"] / step["matmul_tflops"]
                )
        assert 30 < step["gflop"] < 200  # HTSAT-tiny, two clips of 10 s, there and back


def test_the_options_of_the_loop_agree(tmp_path: Path) -> None:
    assert run(tmp_path, "loop").returncode == 1
    assert "CUDA was asked for, but torch finds no GPU" in found(tmp_path, "loop")["why"]
    done = run(tmp_path, "loop", "--loop", "cpu")
    assert done.returncode == 0, done.stdout + done.stderr
    cases = found(tmp_path, "loop")["found"]
    for name in ("on the CPU", "recompute", "accumulate", "compile", "torchrun"):
        assert cases[name]["difference"] < 1e-5, name
    assert 0 < cases["bf16"]["difference"] < 0.03
    assert "difference" not in cases["BatchNorm learns, torchrun"]
    assert all(case["losses"][1] < case["losses"][0] for case in cases.values())


@pytest.mark.parametrize(
    ("losses", "passed"),
    [([2.0, 1.0], True), ([2.02, 1.0], True), ([2.0, 1.05], False), ([2.0, float("nan")], False)],
)
def test_a_run_whose_losses_are_others_or_not_finite_fails(
    losses: list[float], passed: bool, scripts: None
) -> None:
    loop = import_module("benchmarks.gpu.loop")
    one = {"losses": losses}
    loop.judge(loop.Case({}, 0.03), one, {"losses": [2.0, 1.0]})
    assert one["passed"] is passed
    rising = {"losses": [1.0, 1.1]}
    loop.judge(loop.Case({}, None), rising, {"losses": [2.0, 1.0]})
    assert rising["passed"] is False


def test_a_step_without_what_it_needs_names_the_step_that_makes_it(tmp_path: Path) -> None:
    done = run(tmp_path, "export", "bench")
    assert done.returncode == 1
    assert (
        "run the step checkpoints first"
        in found(tmp_path, "export")["found"]["htsat-tiny fp32"]["why"]
    )
    assert "run the step export first" in found(tmp_path, "bench")["found"]["htsat-tiny"]["why"]


@pytest.mark.usefixtures("scripts")
def test_an_embedding_that_is_not_finite_or_too_far_fails() -> None:
    edges = import_module("benchmarks.gpu.edges")
    want = np.eye(2, 3, dtype=np.float32)
    near, far = want.copy(), want.copy()
    far[1] = np.sqrt([0.0, 0.998, 0.002])  # cosine 0.99900
    assert edges.compare(want, near, ["a", "b"])["passed"]
    assert not edges.compare(want, far, ["a", "b"])["passed"]
    near[0, 0] = np.nan
    assert not edges.compare(want, near, ["a", "b"])["passed"]


@pytest.mark.usefixtures("scripts")
def test_edge_clips_are_what_their_names_say() -> None:
    made = import_module("benchmarks.gpu.edges").clips(8000, 8000)
    assert all(clip.dtype == np.float32 and clip.shape == (8000,) for clip in made.values())
    assert not made["silence"].any()
    assert (made["DC"] == 1).all()
    assert np.abs(made["full-scale sine"]).max() == pytest.approx(1)
    assert np.count_nonzero(made["one sample"]) == 1
    assert max(np.abs(clip).max() for clip in made.values()) <= 1


@pytest.mark.usefixtures("scripts")
def test_growth_is_counted_from_the_end_of_the_warm_up() -> None:
    verdict = import_module("benchmarks.gpu.soak").verdict
    assert verdict([500, 505, 503], [900, 900, 900]) == {
        "host_grew_mib": 3, "gpu_grew_mib": 0, "passed": True
    }  # fmt: skip
    assert not verdict([500, 505, 503], [900, 910, 917])["passed"]
    assert not verdict([500], [900])["passed"]  # one look shows no growth
