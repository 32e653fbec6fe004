"""How many recordings a second a real Triton answers, and how long each waits, by concurrency.

    CLAP_TRITON=.venv-triton .venv/bin/python benchmarks/triton/load.py BUNDLE SOUNDS -o load.json

A repository in the Python form is made of BUNDLE (Triton's ONNX Runtime and TensorRT backends are
not in nvidia-pytriton's wheel), the server is started on this machine, and clients that never pause
send the recordings of SOUNDS in turn to ``classify`` over gRPC. Every answer is compared with that
of `Classifier`. The last lines are Classifier's own: one recording after the other, and many.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).parents[2]))

from clap_export.bench.machine import machine
from clap_export.triton import models, repository
from runtime import Classifier, LabelBank
from runtime.bundle import Bundle
from tests.clap_export.triton.server import Server, server

LABELS = ["a dog barking", "rain", "a siren", "a car horn", "church bells", "an engine"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("sounds", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--concurrency", default="1,2,4,8,16,32")
    parser.add_argument("--instances", default="1,2")
    given = parser.parse_args()
    clips = [soundfile.read(path, dtype="float32") for path in sorted(given.sounds.glob("*.wav"))]
    with Classifier(given.bundle, LABELS) as classifier:
        alone = classifiers(classifier, clips, given.seconds)
        rows = [
            row
            for instances in map(int, given.instances.split(","))
            for row in served(classifier, clips, instances, given)
        ]
    report = {
        "machine": asdict(machine()),
        "bundle": Bundle(given.bundle).manifest.name, "classifier": alone, "triton": rows,
    }  # fmt: skip
    given.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        print(row)
    print(alone)


def classifiers(classifier: Classifier, clips: list, seconds: float) -> dict[str, float]:
    """Recordings a second without a server."""
    samples = clips * 8
    list(classifier.predict_many(samples))  # opens the engine of one thread
    start, count = time.perf_counter(), 0
    while time.perf_counter() < start + seconds:
        count += sum(1 for _ in classifier.predict_many(samples))
    many = count / (time.perf_counter() - start)
    start, count = time.perf_counter(), 0
    while time.perf_counter() < start + seconds:
        classifier.predict(*clips[count % len(clips)])
        count += 1
    return {"one_by_one": count / (time.perf_counter() - start), "many": many}


def served(classifier: Classifier, clips: list, instances: int, given: argparse.Namespace) -> list:
    """A row for each concurrency."""
    bank: LabelBank = classifier.bank
    expected = [classifier.predict(*clip) for clip in clips]
    wanted = models.Wanted("python", instances=instances)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = models.of_bundle(Bundle(given.bundle), bank, wanted)
        repository.write(made, folder / "models")
        with server(folder / "models", folder) as triton:
            requests = [
                (
                    "grpc", "classify",
                    {"waveform": samples[None], "sample_rate": np.array([[rate]], np.int32)}, 0,
                )
                for samples, rate in clips
            ]  # fmt: skip
            worst = max(map(difference, triton.ask(requests), expected))
            return [
                measured(triton, requests, n, given.seconds)
                | {"instances": instances, "difference": worst}
                for n in map(int, given.concurrency.split(","))
            ]


def measured(triton: Server, requests: list, concurrency: int, seconds: float) -> dict[str, float]:
    """What clients that never pause see."""
    triton.load(requests, concurrency, 1.0)
    before = runs(triton)
    times, wall = triton.load(requests, concurrency, seconds)
    windows, executions = (b - a for a, b in zip(before, runs(triton), strict=True))
    return {
        "concurrency": concurrency,
        "recordings_per_second": len(times) / wall,
        "p50_ms": 1000 * statistics.median(times),
        "p99_ms": 1000 * float(np.quantile(times, 0.99)),
        "windows_per_run": windows / executions,
    }


def runs(triton: Server) -> tuple[int, int]:
    """Windows and runs of the audio model so far."""
    (found,) = triton.get("models/audio/stats")["model_stats"]
    return int(found["inference_count"]), int(found["execution_count"])


def difference(answer: dict, predictions: list) -> float:
    """The largest between an answer's numbers and the classifier's."""
    names = [name.decode() for name in answer["labels"][0]]
    return max(
        max(
            abs(float(answer["scores"][0][names.index(one.label)]) - one.score),
            abs(float(answer["similarity"][0][names.index(one.label)]) - one.similarity),
        )
        for one in predictions
    )


if __name__ == "__main__":
    main()
