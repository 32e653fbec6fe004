"""What can be measured, whatever runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from clap_export.bench.candidate import Candidate, Kind, Plan
from clap_export.bench.report import Model
from clap_export.bench.rows import Row


class Subject(Protocol):
    """A candidate that is open and ready.

    Attributes:
        engine: what runs it.
        model: what it is.
    """

    engine: str
    model: Model

    def setup(self) -> list[Row]:
        """What happens once in a process."""
        ...

    def predict(self, path: Path) -> object:
        """From a file to scores of all labels."""
        ...

    def stages(self) -> list[Row]:
        """Parts of the way of each clip."""
        ...

    def batches(self) -> list[Row]:
        """The audio encoder on each size of batch; none for what takes single recordings."""
        ...

    def folder(self) -> tuple[int, int, list[Row]]:
        """Files, size of batch; many files in a stream, and their windows alone. No rows for
        transformers' pipeline and for peers on a GPU."""
        ...

    def embed(self, path: Path) -> NDArray[np.float32]:
        """Unit embedding ``[dim]`` of a recording."""
        ...


def open_subject(candidate: Candidate, plan: Plan) -> Subject:
    """Open a candidate.

    Raises:
        ClapError: it cannot be used.
    """
    if candidate.kind == "bundle":
        from clap_export.bench.bundles import BundleSubject

        return BundleSubject(candidate, plan)
    if candidate.device == "cuda":
        from clap_export.bench.peers import cuda as cuda_peers

        return cuda_peers.KINDS[candidate.kind](candidate, plan)
    from clap_export.bench.peers import converted, own, transformers

    kinds: dict[Kind, type[own.TorchPeer | transformers.TransformersPeer]] = {
        "torch": own.TorchPeer,
        "openvino": own.OpenVinoPeer,
        "transformers": transformers.TransformersPeer,
        "pipeline": transformers.PipelinePeer,
        "transformers-bf16": transformers.AutocastPeer,
        "transformers-compile": transformers.CompiledPeer,
        "transformers-openvino": converted.OpenVinoPeer,
        "transformers-int8": converted.Int8Peer,
        "plain": converted.PlainPeer,
    }
    return kinds[candidate.kind](candidate, plan)
