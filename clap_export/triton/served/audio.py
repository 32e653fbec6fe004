"""Windows to embeddings, by the runtime: what Triton's own backends do of the graph's file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb  # pyright: ignore[reportMissingImports]

from clap_export.triton.served.model import Served, array, together
from runtime import Encoder
from runtime.errors import AudioError


class TritonPythonModel:
    """The audio graph, with its inputs and outputs.

    Samples that are not finite are refused. What the encoder makes of finite ones is given out as
    it is: recordings of several requests may share a batch, and who pools them tells them apart.
    """

    def initialize(self, args: dict[str, str]) -> None:
        """Open the engine."""
        served = Served(args)
        self._encoder = Encoder(served.bundle(), **served.engine())
        self._encoder.open_audio()
        self._inputs = [tensor["name"] for tensor in served.config["input"]]
        self._outputs = [tensor["name"] for tensor in served.config["output"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests, all rows in one run."""
        return together(requests, self._run)

    def _run(self, requests: Sequence[Any]) -> list[list[Any]]:
        given = [{name: array(request, name) for name in self._inputs} for request in requests]
        for inputs in given:
            if not np.isfinite(inputs["waveform"]).all():
                raise AudioError("the waveform holds NaN or infinite samples.")
        rows = {name: np.concatenate([one[name] for one in given]) for name in self._inputs}
        outputs = self._encoder.open_audio().run(rows)
        ends = np.cumsum([len(inputs["waveform"]) for inputs in given])[:-1]
        parts = {name: np.split(outputs[name], ends) for name in self._outputs}
        return [
            [pb.Tensor(name, np.ascontiguousarray(parts[name][i])) for name in self._outputs]
            for i in range(len(requests))
        ]

    def finalize(self) -> None:
        """Close the engine."""
        self._encoder.close()
