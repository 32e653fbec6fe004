"""A recording's embedding, as :class:`runtime.Encoder` makes it, and those of its windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from clap_export.serve import answers
from clap_export.serve.admission import Turn
from clap_export.serve.options import EmbedOptions
from clap_export.serve.problems import Problem
from clap_export.serve.service import Ending, Service
from clap_export.serve.uploads import Upload
from clap_export.serve.work import Work
from runtime.clips.pooling import Pool, check_heard, mean_embedding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from runtime.clips.policy import Policy


def embed(
    service: Service, work: Work, turn: Turn, upload: Upload, options: EmbedOptions
) -> dict[str, Any]:
    """Embed a recording, in a thread.

    With ``each_window`` its windows are those of a timeline, and the embedding is their mean.

    Returns:
        the answer; see :class:`clap_export.serve.answers.EmbeddedAudio`.

    Raises:
        ClapError, Problem: the recording or an option cannot be used.
        Cancelled, Late, Longer: it ended early.
    """
    policy = _policy(service, options)
    ending, pool = Ending(), None if policy.pooling == "max" else Pool(policy.pooling)
    windows = _Windows(service) if options.each_window else None
    for piece, rows in service.heard(work, turn, upload, policy, ending):
        if pool is not None:
            pool.add(rows, piece)
        if windows is not None:
            windows.add(mean_embedding(check_heard(rows)), piece.starts[0], piece.ends[0])
    embedding: list[float] | str | None = None
    if pool is not None:
        row = pool.embedding()
        as_text = options.encoding == "base64"
        embedding = answers.packed(row) if as_text else row.tolist()
    found = service.said_of(policy, ending)
    found |= {"dimensions": service.encoder.manifest.embedding_dim, "embedding": embedding}
    return found if windows is None else {**found, "windows": windows.answer()}


def _policy(service: Service, options: EmbedOptions) -> Policy:
    policy = service.policy(options.windows)
    if options.each_window:
        return policy.timeline(service.encoder.manifest.audio, options.hop)
    if options.hop is not None:
        raise Problem(422, "options", "hop is for windows: send each_window=true with it.")
    if policy.pooling == "max":
        raise Problem(
            422, "options", f"the policy '{policy.name}' takes the highest scores over windows, "
            "which leaves no embedding: choose another, or classify.",
        )  # fmt: skip
    return policy


class _Windows:
    """Windows of a recording one by one."""

    def __init__(self, service: Service) -> None:
        self._rate = service.encoder.manifest.audio.sample_rate
        self._most = service.limits.rows
        self._rows: list[NDArray[np.float32]] = []
        self._start: list[float] = []
        self._end: list[float] = []

    def add(self, row: NDArray[np.float32], start: int, end: int) -> None:
        if len(self._rows) == self._most:
            raise Problem(
                413, "too_long", f"the recording has more than {self._most} windows: choose a "
                "larger hop, or send shorter pieces.",
            )  # fmt: skip
        self._rows.append(row)
        self._start.append(start / self._rate)
        self._end.append(end / self._rate)

    def answer(self) -> dict[str, Any]:
        rows = answers.packed(np.stack(self._rows))
        return {"start": self._start, "end": self._end, "embeddings": rows}
