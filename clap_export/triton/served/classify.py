"""Recordings of any length and labels to scores: the runtime's Classifier over two models."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from clap_export.triton.served import BANK
from clap_export.triton.served.model import Served, maybe_array, words
from clap_export.triton.served.recordings import Asked, answer
from clap_export.triton.served.remote import RemoteEncoder
from runtime import Classifier, LabelBank
from runtime.errors import LabelError

REMEMBERED = 64  # sets of labels whose embeddings are kept
MOST_LABELS = 4096  # of a request; a saved bank may have more


class TritonPythonModel:
    """``waveform``, and ``labels`` where the request brings its own, to ``scores``.

    The embeddings of labels are made by the model ``text`` when they are first asked for.
    """

    def initialize(self, args: dict[str, str]) -> None:
        """Read the manifest and the bank; the other models are first called by a request."""
        served = Served(args)
        self._encoder = RemoteEncoder(
            served.bundle(), served.max_batch, served.parameter("windows")
        )
        self._scores: Any = served.parameter("scores")
        self._templates = served.templates()
        path = served.folder / BANK
        self._own = self._classifier(LabelBank.load(path)) if path.exists() else None
        self._made: OrderedDict[tuple[str, ...], Classifier] = OrderedDict()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests; windows of all recordings share batches."""
        return answer([Asked.of(request, self._classifier_of) for request in requests])

    def finalize(self) -> None:
        """Let go of the threads."""
        self._encoder.close()

    def _classifier_of(self, request: Any) -> Classifier:
        labels = maybe_array(request, "labels")
        if labels is None:
            if self._own is None:
                raise LabelError("no labels were given, and this model has none of its own.")
            return self._own
        if (labels != labels[:1]).any():
            raise LabelError("the rows of a request have different labels: send them one by one.")
        names = tuple(words(labels[0]))
        if len(names) > MOST_LABELS:
            raise LabelError(
                f"{len(names)} labels were given; at most {MOST_LABELS} are taken with a request."
            )
        if names not in self._made:
            self._made[names] = self._classifier(list(names))
            while len(self._made) > REMEMBERED:
                self._made.popitem(last=False)
        self._made.move_to_end(names)
        return self._made[names]

    def _classifier(self, labels: list[str] | LabelBank) -> Classifier:
        templates = None if isinstance(labels, LabelBank) else self._templates
        return Classifier(self._encoder, labels, templates=templates, scores=self._scores)
