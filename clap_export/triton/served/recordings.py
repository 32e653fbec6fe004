"""Requests that hold recordings, answered by classifiers: one may fail, and no other does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import triton_python_backend_utils as pb  # pyright: ignore[reportMissingImports]
from numpy.typing import NDArray

from clap_export.triton.served.model import array, failed, maybe_array
from runtime import Classifier, Prediction
from runtime.errors import AudioError


@dataclass
class Asked:
    """A request, and what is known of its answer.

    Attributes:
        classifier: that knows the labels; None when something is wrong.
        rows: its recordings float32 ``[n, samples]``.
        rate: of them in Hz.
        error: what is wrong with it.
        found: predictions of each recording.
    """

    classifier: Classifier | None = None
    rows: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    rate: int = 0
    error: BaseException | None = None
    found: list[list[Prediction]] = field(default_factory=list)

    @classmethod
    def of(cls, request: Any, classifier_of: Callable[[Any], Classifier]) -> Asked:
        """A request, read."""
        try:
            classifier = classifier_of(request)
            rows = array(request, "waveform")
            rates = maybe_array(request, "sample_rate")
            rate = classifier.manifest.audio.sample_rate if rates is None else int(rates.flat[0])
            if rates is not None and (rates != rate).any():
                raise AudioError("the rows of a request have different rates: send them alone.")
        except Exception as error:
            return cls(error=error)
        return cls(classifier, rows, rate)

    def answer(self) -> Any:
        """The response."""
        if self.error is not None or self.classifier is None:
            return failed(self.error or AssertionError("a request was forgotten"))
        names = self.classifier.labels
        shape = (len(self.rows), len(names))
        scores, similarity = np.empty(shape, np.float32), np.empty(shape, np.float32)
        place = {name: i for i, name in enumerate(names)}
        for row, predictions in enumerate(self.found):
            for one in predictions:
                scores[row, place[one.label]] = one.score
                similarity[row, place[one.label]] = one.similarity
        labels = np.array([name.encode() for name in names], np.object_)
        outputs = [
            pb.Tensor("labels", np.tile(labels, (len(self.rows), 1))),
            pb.Tensor("scores", scores),
            pb.Tensor("similarity", similarity),
        ]
        return pb.InferenceResponse(output_tensors=outputs)


def answer(asked: Sequence[Asked]) -> list[Any]:
    """Responses to requests; those with the same labels are heard together."""
    groups: dict[int, list[Asked]] = {}
    for one in asked:
        if one.error is None:
            groups.setdefault(id(one.classifier), []).append(one)
    for group in groups.values():
        _hear(group)
    return [one.answer() for one in asked]


def _hear(group: list[Asked]) -> None:
    """Classify the recordings of requests of one classifier."""
    owners = [one for one in group for _ in one.rows]
    items = [(row, one.rate) for one in group for row in one.rows]
    classifier = group[0].classifier
    assert classifier is not None
    try:
        results = classifier.predict_many(
            items, top_k=len(classifier.labels), decode_threads=1, parallel=1
        )
        for one, result in zip(owners, results, strict=True):
            one.error = one.error or result.error
            one.found.append(result.predictions)
    except Exception as error:  # the engine's, which is everybody's
        for one in group:
            one.error = one.error or error
