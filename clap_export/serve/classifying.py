"""A recording against labels, as :class:`runtime.Classifier` does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from clap_export.serve import answers
from clap_export.serve.admission import Turn
from clap_export.serve.options import ClassifyOptions, names_of
from clap_export.serve.problems import Problem
from clap_export.serve.service import Ending, Service
from clap_export.serve.uploads import Upload
from clap_export.serve.work import Work
from runtime import LabelBank
from runtime.clips.pooling import Peaks, Pool, check_heard, mean_embedding
from runtime.lookup import similarities
from runtime.scores import Ranking

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from runtime.clips.policy import Policy

OF_A_WINDOW = 3  # labels of each window, unless more are asked for
OFTEN = 0.5  # seconds between two tellings of how far it is

Tell = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Classifying:
    """What was asked, checked.

    Attributes:
        bank: the labels.
        ranking: from cosines to predictions.
        policy: of the windows; of a timeline, its own.
        top_k: labels of each window of a timeline; else None.
    """

    bank: LabelBank
    ranking: Ranking
    policy: Policy
    top_k: int | None

    @classmethod
    def of(cls, service: Service, options: ClassifyOptions, work: Work) -> Classifying:
        """From a request's options.

        Raises:
            ClapError, Problem: they cannot be used.
            Cancelled, Late: the work has ended.
        """
        manifest = service.encoder.manifest
        ranking = Ranking.of(
            manifest, options.scores or service.scores, options.threshold, options.min_similarity,
            options.top_k or service.top_k,
        )  # fmt: skip
        policy = service.policy(options.windows)
        if options.hop is not None and not options.timeline:
            raise Problem(422, "options", "hop is for a timeline: send timeline=true with it.")
        bank = service.bank(names_of(options.labels), options.bank, options.templates, work)
        ranking = ranking.of_labels(bank.head, options.scores)
        top_k = options.top_k or service.top_k
        if not options.timeline:
            service.check_answered(bank, top_k)
            return cls(bank, ranking, policy, None)
        top_k = min(len(bank), top_k or OF_A_WINDOW)
        service.check_answered(bank, top_k)
        return cls(bank, ranking, policy.timeline(manifest.audio, options.hop), top_k)

    def rank(self, row: NDArray[np.float32]) -> list[dict[str, Any]]:
        """Predictions of one embedding ``[dim]``."""
        found = self.ranking.rank(
            similarities(self.bank.embeddings, row), self.bank.names, self.top_k
        )
        return [answers.prediction(p) for p in found]

    def new_pool(self) -> Pool | Peaks:
        """What pools the windows of the recording."""
        if self.policy.pooling == "max":
            return Peaks(partial(similarities, self.bank.embeddings), self.ranking.scores)
        return Pool(self.policy.pooling)

    def ranked(self, pool: Pool | Peaks) -> list[dict[str, Any]]:
        """Predictions of the whole recording."""
        if not isinstance(pool, Peaks):
            return self.rank(pool.embedding())
        found = self.ranking.rank(pool.cosines, self.bank.names, None, pool.scores)
        return [answers.prediction(p) for p in found]


def classify(
    service: Service,
    work: Work,
    turn: Turn,
    upload: Upload,
    options: ClassifyOptions,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Classify a recording, in a thread.

    Args:
        service: that hears it.
        work: of the request.
        turn: its place.
        upload: the recording.
        options: what was asked for.
        tell: is told of each ``segment`` (which the answer then has not) and of ``progress``.

    Returns:
        the answer; see :class:`clap_export.serve.answers.Classified`.

    Raises:
        ClapError, Problem: the recording, the labels or an option cannot be used.
        Cancelled, Late, Longer: it ended early.
    """
    asked, ending = Classifying.of(service, options, work), Ending()
    windows = service.heard(work, turn, upload, asked.policy, ending)
    found: dict[str, Any] = {}
    if options.timeline:
        found["segments"] = _segments(service, asked, windows, ending, tell)
    else:
        pool, told = asked.new_pool(), monotonic()
        for piece, rows in windows:
            pool.add(rows, piece)
            if tell is not None and monotonic() - told > OFTEN:
                told = monotonic()
                tell("progress", {"windows": ending.windows, "seconds": ending.seconds})
        found["predictions"] = asked.ranked(pool)
    return {
        **service.said_of(asked.policy, ending), **found,
        "label_warnings": list(asked.bank.warnings),
    }  # fmt: skip


def _segments(
    service: Service, asked: Classifying, windows: Any, ending: Ending, tell: Tell | None
) -> list[dict[str, Any]] | None:
    """Those of a timeline; None where they are told one by one."""
    rate, limits = service.encoder.manifest.audio.sample_rate, service.limits
    most = min(limits.rows, limits.predictions // max(1, asked.top_k or 1))
    found: list[dict[str, Any]] = []
    for piece, rows in windows:
        predictions = asked.rank(mean_embedding(check_heard(rows)))
        segment = {
            "start": piece.starts[0] / rate, "end": piece.ends[0] / rate,
            "predictions": predictions,
        }  # fmt: skip
        if tell is not None:
            tell("segment", segment)
        elif len(found) == most:
            raise Problem(
                413, "too_long", f"the timeline has more than {most} windows of "
                f"{asked.top_k} labels: choose a larger hop or a smaller top_k, or ask for "
                "text/event-stream, which has no end.",
            )  # fmt: skip
        else:
            found.append(segment)
    return None if tell is not None else found
