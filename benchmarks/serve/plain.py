"""The service that people write themselves: FastAPI in front of transformers' pipeline.

    python benchmarks/serve/plain.py CHECKPOINT PORT LABELS

In its best reasonable form: the model in evaluation mode and loaded once, uploads read by
soundfile, work in a pool of threads so that the loop stays free, torch with all cores.
"""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from transformers import pipeline


def main(checkpoint: str, port: int, labels: list[str]) -> None:
    classify = pipeline("zero-shot-audio-classification", model=checkpoint, device="cpu")
    rate = classify.feature_extractor.sampling_rate
    app = FastAPI()

    def work(body: bytes) -> list[dict[str, Any]]:
        samples, own = soundfile.read(io.BytesIO(body), dtype="float32", always_2d=True)
        mono = samples.mean(axis=1)
        if own != rate:
            mono = soxr.resample(mono, own, rate)
        with torch.inference_mode():
            return classify(np.ascontiguousarray(mono), candidate_labels=labels)

    @app.post("/v1/classify")
    async def answer(request: Request) -> list[dict[str, Any]]:
        return await run_in_threadpool(work, await request.body())

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3].split(","))
