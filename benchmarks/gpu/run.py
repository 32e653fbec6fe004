"""What waits for a GPU, step by step: python benchmarks/gpu/run.py STEP… --out DIR

See README.md beside this file. Each step writes ``STEP.json`` to DIR; one that fails writes why,
and the next one runs all the same. Checkpoints and bundles are kept in --work from call to call.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import shlex
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.gpu import models  # noqa: E402 - the project need not be installed
from benchmarks.gpu.command import TAIL, ran  # noqa: E402
from clap_export.bench.gpu import Meter  # noqa: E402
from clap_export.bench.process import Process  # noqa: E402
from runtime import schema  # noqa: E402
from runtime.backends import quiet  # noqa: E402
from runtime.cores import usable_cores  # noqa: E402
from runtime.errors import ClapError  # noqa: E402
from runtime.manifest import read_manifest  # noqa: E402

PACKAGES = (
    "torch", "onnx", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx", "cuda-bindings",
    "numpy", "transformers", "timm", "soundfile", "soxr", "tokenizers", "click", "rich",
)  # fmt: skip
FRONTEND_BATCHES = (1, 16, 64)
ENTRY = (
    f"import sys; sys.path.append({str(ROOT)!r}); from clap_export.__main__ import entry; entry()"
)


class Skipped(Exception):
    """A step cannot run here: why."""


def main(arguments: list[str] | None = None) -> int:
    """Run the steps; 1 if any failed."""
    given = parsed(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    passed = True
    for name in given.steps:
        began = time.perf_counter()
        found: dict[str, Any] = {"step": name}
        try:
            found["found"] = STEPS[name](given)
            found["passed"] = all_passed(found["found"])
        except (ClapError, Skipped) as error:
            found |= {"passed": False, "why": str(error)}
        except Exception:  # whatever it is, the next step runs
            found |= {"passed": False, "why": traceback.format_exc()}
        found["seconds"] = time.perf_counter() - began
        (given.out / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n", "utf-8")
        print(f"{name}: {'done' if found['passed'] else 'FAILED'} in {found['seconds']:.0f} s")
        print(json.dumps(found.get("found", found.get("why")), indent=1)[-TAIL:], flush=True)
        passed &= found["passed"]
    return 0 if passed else 1


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("steps", nargs="+", choices=STEPS, metavar="STEP", help=", ".join(STEPS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=ROOT / "bench-work" / "gpu")
    parser.add_argument("--models", default=",".join(models.NAMES))
    parser.add_argument("--precisions", default="fp32,fp16")
    parser.add_argument("--provider", default="tensorrt", help="of soak and edges")
    parser.add_argument("--tiny", action="store_true", help="tiny models, to try the steps with")
    parser.add_argument(
        "--tensorrt-python", type=Path, help="interpreter with the tensorrt package"
    )
    parser.add_argument("--build", default="--opt-batch 64", help="options of clap-export build")
    parser.add_argument("--bench", default="--against torch", help="options of clap-export bench")
    parser.add_argument(
        "--training", default="--device cuda --batch 64",
        help="options of benchmarks/training.py",
    )  # fmt: skip
    parser.add_argument("--loop", default="cuda", choices=["cuda", "cpu"], help="device of loop")
    parser.add_argument("--count", type=int, default=100_000, help="predictions of soak")
    parser.add_argument("--limit", type=float, default=540, help="seconds for a model's soak")
    given = parser.parse_args(arguments)
    given.models = given.models.split(",")
    given.precisions = given.precisions.split(",")
    strange = set(given.models) - set(models.NAMES)
    if strange:
        parser.error(f"--models {','.join(strange)}: choose from {', '.join(models.NAMES)}")
    return given


# -- the steps --


def env(given: argparse.Namespace) -> dict[str, Any]:
    """What is here."""
    found: dict[str, Any] = {"python": platform.python_version(), "cores": usable_cores()}
    found["packages"] = {name: version for name in PACKAGES if (version := _version(name))}
    try:
        found["onnxruntime_providers"] = quiet.onnxruntime().get_available_providers()
    except ImportError as error:
        found["onnxruntime_providers"] = str(error)
    if given.tensorrt_python:
        code = "import sys, tensorrt; print(sys.version.split()[0], tensorrt.__version__)"
        found["tensorrt_python"] = _said([str(given.tensorrt_python), "-c", code])
    try:
        meter = Meter()
        found["gpu"] = schema.to_plain(meter.gpu())
        found["energy_counted"] = meter.millijoules() is not None
        meter.close()
        found["nvidia_smi"] = _said(["nvidia-smi"])
    except ClapError as error:
        found |= {"gpu": None, "why": str(error)}
    return found


def checkpoints(given: argparse.Namespace) -> dict[str, Any]:
    """Make the models' checkpoints."""
    return {
        name: str(models.make(name, given.work / "checkpoints", given.tiny).name)
        for name in given.models
    }


def export(given: argparse.Namespace) -> dict[str, Any]:
    """Export them in every precision; verified on the CPU."""

    def one(name: str, precision: str) -> dict[str, Any]:
        out = _bundle(given, name, precision)
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.exists():
            return {"passed": True, "was_there": True}
        ckpt = _needed(models.path_of(name, given.work / "checkpoints", given.tiny), "checkpoints")
        done = _clap(["--ckpt", ckpt, "--out", out, "--precision", precision])
        # Where FP32 fails its gates, that is what was written.
        made = read_manifest(out).audio_graph.precision if out.exists() else None
        return done | {"passed": done["passed"] and made == precision, "precision": made}

    return {
        f"{name} {precision}": _tried(one, name, precision)
        for name in given.models
        for precision in given.precisions
    }


def build(given: argparse.Namespace) -> dict[str, Any]:
    """Build their engines."""

    def one(bundle: Path) -> dict[str, Any]:
        _needed(bundle, "export")
        done = _clap(["build", bundle, *shlex.split(given.build)], given.tensorrt_python)
        return done | {"engines": schema.to_plain(read_manifest(bundle).engines)}

    return {bundle.name: _tried(one, bundle) for bundle in _bundles(given)}


def test(given: argparse.Namespace) -> dict[str, Any]:
    """The tests that need a GPU."""
    report = given.out / "pytest-gpu.xml"
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", f"--junitxml={report}"]
    return ran([*command, "-p", "no:cacheprovider", str(ROOT / "tests")])


def bench(given: argparse.Namespace) -> dict[str, Any]:
    """``clap-export bench --device cuda`` of each model; JSON, Markdown and PNG beside this."""

    def one(name: str) -> dict[str, Any]:
        bundles = [_needed(_bundle(given, name, p), "export") for p in given.precisions]
        ckpt = _needed(models.path_of(name, given.work / "checkpoints", given.tiny), "checkpoints")
        command = ["bench", *bundles, "--device", "cuda", "--ckpt", ckpt]
        for option, suffix in (("--json", "json"), ("--markdown", "md"), ("--plot", "png")):
            command += [option, given.out / f"bench-{name}.{suffix}"]
        if given.tensorrt_python:
            command += ["--tensorrt-python", given.tensorrt_python]
        return _clap([*command, *shlex.split(given.bench)])

    return {name: _tried(one, name) for name in given.models}


def frontend(given: argparse.Namespace) -> dict[str, Any]:
    """The frontend's forms on CUDA, and their share of the encoder's time."""
    from benchmarks.gpu.frontend import Frontend

    def one(name: str) -> dict[str, Any]:
        ckpt = _needed(models.path_of(name, given.work / "checkpoints", given.tiny), "checkpoints")
        with Process(Frontend, ckpt) as process:
            return process.ask("measure", FRONTEND_BATCHES)

    return {name: _tried(one, name) for name in given.models}


def training(given: argparse.Namespace) -> dict[str, Any]:
    """A training step beside transformers', and how quickly clips load."""
    script, out = ROOT / "benchmarks" / "training.py", given.out / "training-step.json"
    command = [sys.executable, str(script), str(out), *shlex.split(given.training)]
    done = ran(command)
    return done | {"found": json.loads(out.read_text("utf-8")) if out.exists() else None}


def loop(given: argparse.Namespace) -> dict[str, Any]:
    """Whole training runs with the loop's options, beside plain ones."""
    import torch

    from benchmarks.gpu.loop import measure

    if given.loop == "cuda" and not torch.cuda.is_available():
        raise Skipped("CUDA was asked for, but torch finds no GPU; --loop cpu is for trying.")
    with tempfile.TemporaryDirectory() as work:
        return measure(Path(work), given.loop, *((16, 2) if given.tiny else (64, 20)))


def soak(given: argparse.Namespace) -> dict[str, Any]:
    """Many predictions: does memory grow?"""
    from benchmarks.gpu.soak import Soak

    def one(bundle: Path) -> dict[str, Any]:
        _needed(bundle, "export")
        with Process(Soak, bundle, given.provider, python=_python(given)) as process:
            return process.ask("run", given.count, given.limit)

    return {bundle.name: _tried(one, bundle) for bundle in _bundles(given)}


def edges(given: argparse.Namespace) -> dict[str, Any]:
    """Silence, full scale, DC: against the FP32 bundle on the CPU."""
    from benchmarks.gpu.edges import Edges, compare

    def one(name: str, precision: str) -> dict[str, Any]:
        bundle = _needed(_bundle(given, name, precision), "export")
        with Process(Edges, _needed(_bundle(given, name, "fp32"), "export"), "cpu") as reference:
            names, want = reference.ask("names"), reference.ask("embed", 1)
        with Process(Edges, bundle, given.provider, python=_python(given)) as process:
            parts = {
                f"batch {size}": compare(want, process.ask("embed", size), names)
                for size in (1, len(names))
            }
        return parts | {"passed": all_passed(parts)}

    return {
        f"{name} {precision}": _tried(one, name, precision)
        for name in given.models
        for precision in given.precisions
    }


_IN_ORDER = (
    env, checkpoints, export, build, test, bench, frontend, training, loop, soak, edges,
)  # fmt: skip
STEPS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    step.__name__: step for step in _IN_ORDER
}


# -- inside --


def all_passed(found: dict[str, Any]) -> bool:
    """Whether no part says that it failed."""
    return all(part.get("passed", True) for part in found.values() if isinstance(part, dict))


def _bundle(given: argparse.Namespace, name: str, precision: str) -> Path:
    return given.work / "bundles" / f"{name}-{precision}"


def _bundles(given: argparse.Namespace) -> list[Path]:
    return [_bundle(given, name, p) for name in given.models for p in given.precisions]


def _needed(path: Path, step: str) -> Path:
    if not path.exists():
        raise Skipped(f"'{path.name}' is not there: run the step {step} first.")
    return path


def _tried(one: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What it found; or why it could not, and the next one is tried."""
    try:
        return one(*arguments)
    except (ClapError, Skipped) as error:
        return {"passed": False, "why": str(error)}
    except Exception:
        return {"passed": False, "why": traceback.format_exc()[-TAIL:]}


def _python(given: argparse.Namespace) -> Path | None:
    """The interpreter of a provider."""
    return given.tensorrt_python if given.provider == "tensorrt" else None


def _clap(arguments: Iterable[object], python: Path | None = None) -> dict[str, Any]:
    """Run ``clap-export``."""
    return ran([str(python or sys.executable), "-c", ENTRY, *map(str, arguments)])


def _said(command: list[str]) -> str:
    try:
        return ran(command)["said"].strip()
    except OSError as error:
        return str(error)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
