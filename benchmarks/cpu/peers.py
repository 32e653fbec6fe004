r"""A file to 50 label scores: our bundles beside transformers, on this machine's CPU.

    python benchmarks/cpu/peers.py CLAPMODEL_FOLDER FP32_BUNDLE INT8_BUNDLE FILE \
        [--json OUT] [--older PYTHON]

PYTHON is that of an environment with an older transformers, which is measured as well.
The folder is a transformers ClapModel (`benchmarks/originals/checkpoint.py transformers FOLDER`
makes one), the bundles are made from it. Each candidate has a process of its own, one at a time, in
each of three rounds, since engines that are open at once take the cores from each other. Loading
and labels are not in the times, but in the pipeline, which embeds the labels anew for every clip.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

LABELS = [f"the sound of thing number {i}" for i in range(50)]
ROUNDS, WARM_UPS = 3, 2
RUNS = {"transformers, its pipeline": 2}  # others: 12
CANDIDATES = (
    "transformers, its pipeline", "transformers, labels cached", "fp32 on cpu", "fp32 on openvino",
    "int8 on cpu", "int8 on openvino",
)  # fmt: skip


def ours(bundle: str, provider: str, file: str) -> Callable[[], Any]:
    """The runtime's classifier."""
    from runtime import Classifier

    classifier = Classifier(bundle, LABELS, providers=(provider,), threads=os.cpu_count())
    return lambda: classifier.predict(file)


def cached(folder: str, file: str) -> Callable[[], Any]:
    """transformers at its best: labels embedded once; our own decoder and resampler."""
    import soundfile
    import soxr
    import torch
    from transformers import ClapFeatureExtractor, ClapModel

    model: Any = ClapModel.from_pretrained(folder).eval()
    extractor = ClapFeatureExtractor.from_pretrained(folder)
    rate = extractor.sampling_rate
    text = torch.nn.functional.normalize(torch.randn(len(LABELS), model.config.projection_dim))

    @torch.inference_mode()
    def run() -> Any:
        samples, found = soundfile.read(file, dtype="float32", always_2d=True)
        mono = soxr.resample(samples.mean(axis=1), found, rate)
        features = extractor(mono, sampling_rate=rate, return_tensors="pt")
        audio = model.get_audio_features(**features)
        audio = torch.nn.functional.normalize(getattr(audio, "pooler_output", audio))
        return (model.logit_scale_a.exp() * audio @ text.T).softmax(dim=1)

    return run


def pipeline(folder: str, file: str) -> Callable[[], Any]:
    """transformers as its documentation shows it, on samples in memory."""
    import soundfile
    import soxr
    from transformers import (
        ClapFeatureExtractor,
        ClapModel,
        PreTrainedTokenizerFast,
        ZeroShotAudioClassificationPipeline,
    )

    made: Any = ZeroShotAudioClassificationPipeline(
        model=ClapModel.from_pretrained(folder).eval(),
        feature_extractor=ClapFeatureExtractor.from_pretrained(folder),
        tokenizer=PreTrainedTokenizerFast(
            tokenizer_file=f"{folder}/tokenizer.json", pad_token="[PAD]",
            model_input_names=["input_ids", "attention_mask"],
        ),
    )  # fmt: skip
    samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    mono = soxr.resample(samples.mean(axis=1), rate, made.feature_extractor.sampling_rate)
    return lambda: made(mono, candidate_labels=LABELS)


def work(name: str, folder: str, fp32: str, int8: str, file: str) -> list[float]:
    """Seconds of each run of a candidate."""
    if name.startswith("transformers"):
        run = pipeline(folder, file) if "pipeline" in name else cached(folder, file)
    else:
        precision, _, provider = name.split()
        run = ours(fp32 if precision == "fp32" else int8, provider, file)
    seconds = []
    for _ in range(WARM_UPS + RUNS.get(name, 12)):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return seconds[WARM_UPS:]


def main() -> None:
    """Run every candidate in turn, and print the table."""
    parser = argparse.ArgumentParser()
    for name in ("folder", "fp32", "int8", "file"):
        parser.add_argument(name)
    parser.add_argument("--json")
    parser.add_argument("--older")
    parser.add_argument("--worker")
    given = parser.parse_args()
    paths = [given.folder, given.fp32, given.int8, given.file]
    if given.worker:
        print(json.dumps(work(given.worker, *paths)))
        return
    names = [*CANDIDATES, *(["transformers, older, labels cached"] if given.older else [])]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        for name in names:
            python = given.older if "older" in name else sys.executable
            command = [python, __file__, *paths, "--worker", name]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds[name] += json.loads(done.stdout.splitlines()[-1])
    base = float(np.median(seconds["transformers, labels cached"]))
    print("| file to 50 label scores | median | p90 | times quicker than transformers, cached |")
    print("|---|---|---|---|")
    for name, times in seconds.items():
        median, p90 = np.median(times), np.quantile(times, 0.9)
        print(f"| {name} | {1e3 * median:.1f} ms | {1e3 * p90:.1f} ms | {base / median:.2f} |")
    if given.json:
        packages = ("torch", "transformers", "onnxruntime", "openvino", "numpy")
        report = {
            "machine": {"cpus": os.cpu_count(), "cpu": _cpu(), "python": platform.python_version()},
            "versions": {name: metadata.version(name) for name in packages},
            "older": _version(given.older, "transformers"),
            "file": Path(given.file).name,
            "seconds": seconds,
        }
        Path(given.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _version(python: str | None, package: str) -> str | None:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    if python is None:
        return None
    return subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "")


if __name__ == "__main__":
    main()
