"""Where an audio encoder's time goes, by kind of operation, in the engines' own profiles.

    python benchmarks/cpu/operations.py [--write] NAME=BUNDLE@PROVIDER...
    python benchmarks/cpu/operations.py --count [--write] NAME=BUNDLE...

PROVIDER is ``cpu`` (ONNX Runtime) or ``openvino``; one window at a time. ``--count`` counts the
instructions of one window instead, on ONNX Runtime and one thread, by valgrind: that knows
instruction sets up to AVX2, so these tell graphs and versions from each other on any machine
however busy, and no speed; minutes for each. Writes operations.json beside this file.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.cpu import figures  # noqa: E402 - run as a script
from runtime.backends import bfloat16, quiet  # noqa: E402
from runtime.bundle import Bundle  # noqa: E402
from runtime.manifest import Manifest  # noqa: E402

RESULTS = Path(__file__).with_name("operations.json")
WARMUPS = 3
# Kinds of operations, by what both engines call them; what is none of these is "others".
KINDS = {
    "products": (
        "MatMul|FullyConnected|Gemm|Convolution|Conv|FusedConv|FusedMatMul|MatMulIntegerToFloat|"
        "ConvInteger|MatMulInteger|QLinearConv|QLinearMatMul|FusedGemm|GroupConvolution|"
        "FullyConnectedQuantizedLegacy|QGemm"
    ),
    "elementwise": (
        "Subgraph|Eltwise|Add|Sub|Mul|Div|Pow|Sqrt|Log|Relu|Erf|Gelu|BiasGelu|Clip|Max|Min|Math|"
        "BatchNormalization|Sigmoid|Where|Select|FastGelu|QuickGelu|Exp|Abs|Neg|Multiply|MulAdd|"
        "Subtract|PowerStatic|Clamp"
    ),
    "norms and softmax": (
        "LayerNormalization|SkipLayerNormalization|MVN|NormalizeL2|Softmax|LpNormalization"
    ),
    "moving rows": (
        "Transpose|Reorder|Reshape|Gather|Concat|Split|Slice|StridedSlice|Pad|Unsqueeze|Squeeze|"
        "VariadicSplit|Expand|Broadcast|Tile|Identity"
    ),
    "sums and pooling": "Reduce.*|AveragePool|GlobalAveragePool|MaxPool|AvgPool|QLinear.*Pool",
    "changes of type": (
        "Convert|Cast|QuantizeLinear|DequantizeLinear|DynamicQuantizeLinear|FakeQuantize"
    ),
}

COUNT = """
import sys
import numpy as np
from runtime import Encoder
with Encoder(sys.argv[1], providers=["cpu"], threads=1) as encoder:
    noise = np.random.default_rng(0).standard_normal((1, encoder.manifest.audio.window_samples))
    window = (0.1 * noise).astype(np.float32)
    for _ in range(int(sys.argv[2])):
        encoder.embed_windows(window)
"""


def kind_of(operation: str) -> str:
    """The kind that an operation counts as."""
    return next((name for name, words in KINDS.items() if re.fullmatch(words, operation)), "others")


def waveform(manifest: Manifest) -> dict[str, np.ndarray]:
    """A window of noise."""
    noise = np.random.default_rng(0).standard_normal((1, manifest.audio.window_samples))
    return {"waveform": (0.1 * noise).astype(np.float32)}


def on_openvino(bundle: Bundle, runs: int) -> list[dict[str, float]]:
    """Milliseconds of each operation in each run."""
    openvino = quiet.openvino()
    graph = bundle.manifest.audio_graph
    core: Any = openvino.Core()
    model = core.read_model(bundle.read(graph.file).data)
    parts = [(model, "f32")]
    if graph.bfloat16 and not bfloat16.missing(openvino):
        parts = bfloat16.split(openvino, model).in_order
    requests = [
        core.compile_model(
            part, "CPU",
            {"PERFORMANCE_HINT": "LATENCY", "PERF_COUNT": True, "INFERENCE_PRECISION_HINT": type_},
        ).create_infer_request()
        for part, type_ in parts
    ]  # fmt: skip
    feed, found = waveform(bundle.manifest), []
    first, *later = requests
    for i in range(WARMUPS + runs):
        first.infer(feed)
        for request in later:
            for place in range(len(request.model_inputs)):
                request.set_input_tensor(place, first.get_output_tensor(place))
            request.infer()
        times: dict[str, float] = defaultdict(float)
        for request in requests:
            for node in request.profiling_info:
                times[node.node_type] += node.real_time.total_seconds() * 1e3
        if i >= WARMUPS:
            found.append(dict(times))
    return found


def on_onnxruntime(bundle: Bundle, runs: int) -> list[dict[str, float]]:
    """Milliseconds of each operation in each run."""
    ort = quiet.onnxruntime()
    with tempfile.TemporaryDirectory() as folder:
        options = ort.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder, "ort"))
        options.log_severity_level = 3
        content = bundle.read(bundle.manifest.audio_graph.file).data
        session: Any = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        feed = waveform(bundle.manifest)
        for _ in range(WARMUPS + runs):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    begun = sorted(event["ts"] for event in events if event["name"] == "model_run")[WARMUPS:]
    found: list[dict[str, float]] = [defaultdict(float) for _ in begun]
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            run = bisect_right(begun, event["ts"]) - 1
            if run >= 0:
                found[run][event["args"]["op_name"]] += event["dur"] / 1e3
    return found


def instructions(folder: Path) -> float:
    """That one window takes on ONNX Runtime and one thread, in 1e9."""

    def counted(windows: int) -> int:
        done = subprocess.run(
            [
                "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable,
                "-c", COUNT, folder, str(windows),
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT), "CLAP_CACHE": ""},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        (found,) = re.findall(r"Collected : (\d+)", done.stderr)
        return int(found)

    return (counted(3) - counted(1)) / 2e9  # the start is in both


RUN: dict[str, Callable[[Bundle, int], list[dict[str, float]]]] = {
    "cpu": on_onnxruntime, "openvino": on_openvino,
}  # fmt: skip


def profile(folder: str, provider: str, runs: int) -> dict[str, Any]:
    """Milliseconds of each operation and each kind of them, medians over the runs."""
    each = RUN[provider](Bundle(folder), runs)
    operations = {
        operation: round(median(one.get(operation, 0.0) for one in each), 4)
        for operation in sorted(set[str]().union(*each))
    }
    kinds = dict.fromkeys([*KINDS, "others"], 0.0)
    for operation, taken in operations.items():
        kinds[kind_of(operation)] += taken
    return {"kinds_ms": {k: round(v, 3) for k, v in kinds.items()}, "operations_ms": operations}


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--runs", default=30, show_default=True)
@click.option("--count", is_flag=True, help="Count instructions instead.")
@click.option("--write", is_flag=True, help="Keep the figures in operations.json.")
def main(models: tuple[str, ...], runs: int, count: bool, write: bool) -> None:
    """Profile encoders, each given as NAME=BUNDLE@PROVIDER."""
    found: dict[str, list[dict[str, Any]]] = {"cases": [], "instructions": []}
    for name, place in (one.split("=", 1) for one in models):
        folder, _, provider = place.partition("@")
        case = {"model": name, "precision": Bundle(folder).manifest.audio_graph.precision}
        if count:
            case |= {"instructions_1e9": round(instructions(Path(folder).resolve()), 3)}
        else:
            provider = provider or "cpu"
            case |= {"provider": provider, **profile(folder, provider, runs)}
        found["instructions" if count else "cases"].append(case)
        click.echo(json.dumps(case))
    if write:
        kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        kept.pop("machine", None)
        figures.keep(RESULTS, **{**kept, **{k: v for k, v in found.items() if v}})


if __name__ == "__main__":
    main()
