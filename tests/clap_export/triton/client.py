"""A client in a process of its own: tritonclient lives in the environment of the server.

Lists of requests come in on standard input and lists of answers go out, pickled by the one test
that started it. A request is a way (``http`` or ``grpc``), an address, a model, its inputs, and how
many best labels are asked for (0 for numbers). An answer is outputs by name, or an error's status
and text.
"""

from __future__ import annotations

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

TYPES = {"float32": "FP32", "int32": "INT32", "object": "BYTES"}
MODULES: dict[str, Any] = {"http": tritonclient.http, "grpc": tritonclient.grpc}


def answer(request: tuple[str, str, str, dict[str, np.ndarray], int]) -> Any:
    way, address, model, given, best = request
    module = MODULES[way]
    inputs = []
    for name, values in given.items():
        inputs.append(module.InferInput(name, values.shape, TYPES[str(values.dtype)]))
        inputs[-1].set_data_from_numpy(values)
    wanted = [module.InferRequestedOutput("scores", class_count=best)] if best else None
    try:
        with module.InferenceServerClient(address) as client:
            found = client.infer(model, inputs, outputs=wanted)
    except InferenceServerException as error:
        return error.status(), str(error)
    response = found.get_response()
    names = (
        [output["name"] for output in response["outputs"]]
        if way == "http"
        else [output.name for output in response.outputs]
    )
    return {name: found.as_numpy(name) for name in names}


def main() -> None:
    with ThreadPoolExecutor(16) as threads:
        while True:
            try:
                requests = pickle.load(sys.stdin.buffer)
            except EOFError:
                return
            pickle.dump(list(threads.map(answer, requests)), sys.stdout.buffer)
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
