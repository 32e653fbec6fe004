"""A client in a process of its own: tritonclient lives in the environment of the server.

What to do comes in on standard input and what came of it goes out, pickled by the one program that
started it. A request is a way (``http`` or ``grpc``), an address, a model, its inputs, and how many
best labels are asked for (0 for numbers). An answer is outputs by name, or an error's status and
text.
"""

from __future__ import annotations

import pickle
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

TYPES = {"float32": "FP32", "int32": "INT32", "object": "BYTES"}
MODULES: dict[str, Any] = {"http": tritonclient.http, "grpc": tritonclient.grpc}


def inputs(request: tuple[str, str, str, dict[str, np.ndarray], int]) -> list[Any]:
    way, _, _, given, _ = request
    found = []
    for name, values in given.items():
        found.append(MODULES[way].InferInput(name, values.shape, TYPES[str(values.dtype)]))
        found[-1].set_data_from_numpy(values)
    return found


def answer(request: tuple[str, str, str, dict[str, np.ndarray], int]) -> Any:
    way, address, model, _, best = request
    module = MODULES[way]
    wanted = [module.InferRequestedOutput("scores", class_count=best)] if best else None
    try:
        with module.InferenceServerClient(address) as client:
            found = client.infer(model, inputs(request), outputs=wanted)
    except InferenceServerException as error:
        return error.status(), str(error)
    response = found.get_response()
    names = (
        [output["name"] for output in response["outputs"]]
        if way == "http"
        else [output.name for output in response.outputs]
    )
    return {name: found.as_numpy(name) for name in names}


def load(requests: list[Any], clients: int, seconds: float) -> tuple[list[float], float]:
    """Seconds that each request took, of clients that ask one after the other, and of all."""
    way, address, model, _, _ = requests[0]
    ready = [inputs(request) for request in requests]
    end = time.perf_counter() + seconds

    def one(number: int) -> list[float]:
        took = []
        with MODULES[way].InferenceServerClient(address) as client:
            while (start := time.perf_counter()) < end:
                client.infer(model, ready[(number + len(took)) % len(ready)])
                took.append(time.perf_counter() - start)
        return took

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        found = [took for some in threads.map(one, range(clients)) for took in some]
    return found, time.perf_counter() - start


def main() -> None:
    with ThreadPoolExecutor(16) as threads:
        while True:
            try:
                requests, clients, seconds = pickle.load(sys.stdin.buffer)
            except EOFError:
                return
            result = (
                load(requests, clients, seconds) if clients else list(threads.map(answer, requests))
            )
            pickle.dump(result, sys.stdout.buffer)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
