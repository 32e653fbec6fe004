"""Texts to embeddings: the tokenizer and the text graph, by the runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb  # pyright: ignore[reportMissingImports]

from clap_export.triton.served.model import Served, array, together, words
from runtime import Encoder


class TritonPythonModel:
    """``text`` ``[n, 1]`` to ``embedding`` ``[n, dim]`` of unit norm; no template is put around."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the engine and the tokenizer."""
        served = Served(args)
        self._encoder = Encoder(served.bundle(), **served.engine(), batch_size=served.max_batch)
        _ = self._encoder.tokenizer

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests, all texts in one run."""
        return together(requests, self._run)

    def _run(self, requests: Sequence[Any]) -> list[list[Any]]:
        texts = [words(array(request, "text")) for request in requests]
        found = self._encoder.embed_text([text for some in texts for text in some])
        parts = np.split(found, np.cumsum([len(some) for some in texts])[:-1])
        return [[pb.Tensor("embedding", np.ascontiguousarray(part))] for part in parts]

    def finalize(self) -> None:
        """Close the engine."""
        self._encoder.close()
