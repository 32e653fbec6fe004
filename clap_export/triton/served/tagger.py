"""Recordings of any length to the scores of a frozen tagger, by the runtime."""

from __future__ import annotations

from typing import Any

from clap_export.triton.served import TAGGER
from clap_export.triton.served.model import Served
from clap_export.triton.served.recordings import Asked, answer
from runtime import Tagger


class TritonPythonModel:
    """``waveform`` to ``scores`` of the labels in the file."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the engine."""
        served = Served(args)
        engine = {name: value for name, value in served.engine().items() if value is not None}
        windows = served.parameter("windows")
        self._tagger = Tagger(
            served.folder / TAGGER, windows=windows, batch_size=served.max_batch, **engine
        )
        self._tagger.encoder.open_audio()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests; windows of all recordings share batches."""
        return answer([Asked.of(request, lambda _: self._tagger) for request in requests])

    def finalize(self) -> None:
        """Close the engine."""
        self._tagger.close()
