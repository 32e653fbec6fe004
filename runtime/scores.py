"""Cosines to scores, and scores to ranked predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from runtime.arguments import maybe_whole, number, shown
from runtime.errors import ClapError
from runtime.head import Head
from runtime.manifest import Manifest

Mode = Literal["softmax", "cosine", "multilabel"]


@dataclass(frozen=True)
class Prediction:
    """One label for a clip.

    Attributes:
        label: its name.
        score: what the classifier's mode says: share of the softmax, cosine, or probability.
        similarity: cosine between the clip's and the label's embedding.
    """

    label: str
    score: float
    similarity: float


@dataclass(frozen=True)
class Ranking:
    """How cosines become predictions.

    Attributes:
        mode: ``softmax`` over the labels with the manifest's logit scale (shares sum to 1, so
            something always wins); ``cosine`` as it is; ``multilabel``, an independent probability
            for each label from the manifest's calibration.
        logit_scale: multiplies cosines before the softmax.
        calibration: scale and bias of the sigmoid, for ``multilabel``.
        threshold: predictions with a lower score are dropped.
        min_similarity: predictions with a lower cosine are dropped.
        top_k: most predictions kept.
        head: of labels that were learned from examples; its scales and biases are then used, of
            each label its own.
    """

    mode: Mode
    logit_scale: float
    calibration: tuple[float, float] | None
    threshold: float | None
    min_similarity: float | None
    top_k: int | None
    head: Head | None = None

    @classmethod
    def of(
        cls,
        manifest: Manifest | None,
        mode: str | None,
        threshold: float | None,
        min_similarity: float | None,
        top_k: int | None,
    ) -> Ranking:
        """A ranking for a bundle, to be completed by :meth:`of_labels`.

        Args:
            manifest: of the bundle; None where the labels are a head, which needs none.
            mode: or None for ``softmax``, and of a head for its own.
            threshold: see the class.
            min_similarity: see the class.
            top_k: see the class.

        Raises:
            ClapError: an unknown mode, or a bound that is no number.
        """
        mode = "softmax" if mode is None else mode
        if mode not in get_args(Mode):
            raise ClapError(f"scores={shown(mode)}: choose from {', '.join(get_args(Mode))}.")
        chosen = cast(Mode, mode)
        calibration = None if manifest is None else manifest.calibration
        return cls(
            chosen,
            1.0 if manifest is None else manifest.logit_scale,
            None if calibration is None else (calibration.scale, calibration.bias),
            _bound("threshold", threshold),
            _bound("min_similarity", min_similarity),
            check_top_k(top_k),
        )

    def of_labels(self, head: Head | None, asked: str | None) -> Ranking:
        """The same for the labels that are looked up.

        Args:
            head: theirs, if they were learned from examples.
            asked: the mode that was asked for, or None.

        Raises:
            ClapError: the head gives other scores; or without one, ``multilabel`` was asked for and
                the bundle has no calibration.
        """
        if head is None:
            if self.mode == "multilabel" and self.calibration is None:
                raise ClapError(
                    "scores='multilabel' was asked for, but this bundle has no calibration: use "
                    "scores='cosine' with a threshold."
                )
            return self
        own = head.about.scores
        if asked not in (None, own):
            raise ClapError(
                f"scores='{asked}' was asked for, but the labels are a head, whose scores are "
                f"'{own}': leave the choice to it."
            )
        return replace(self, mode=own, head=head)

    def scores(self, similarities: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores of cosines ``[labels]``, or ``[clips, labels]``, in the same order."""
        cosines = similarities.astype(np.float64)
        if self.mode == "cosine":
            return cosines
        if self.head is not None:
            logits = self.head.logits(similarities)
        elif self.mode == "multilabel" and self.calibration is not None:
            scale, bias = self.calibration
            logits = scale * cosines + bias
        else:
            logits = cosines * self.logit_scale
        if self.mode == "multilabel":
            # The sigmoid as a tanh, which does not overflow.
            return 0.5 * (1.0 + np.tanh(0.5 * logits))
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)

    def rank(
        self,
        similarities: NDArray[np.float32],
        names: Sequence[str],
        top_k: int | None = None,
        scores: NDArray[np.float64] | None = None,
    ) -> list[Prediction]:
        """Predictions of one clip, best first; equal ones in the order of the labels.

        Args:
            similarities: cosines ``[len(names)]``.
            names: of the labels.
            top_k: most predictions kept; default the ranking's.
            scores: of the labels; default those of the cosines.

        Returns:
            those that pass both bounds; an empty list means "none of these".
        """
        scores = self.scores(similarities) if scores is None else scores
        limit = self.top_k if top_k is None else top_k
        # A saturated softmax has equal scores: then the cosine decides, then the label's place.
        close = similarities if self.head is None else self.head.logits(similarities)
        order = cast("list[int]", np.lexsort((-close, -scores)).tolist())
        # As float64: numpy would round a bound to float32 first, unlike what is printed.
        cosines = similarities.astype(np.float64)
        passing = (
            Prediction(names[i], float(scores[i]), float(cosines[i]))
            for i in order
            if (self.threshold is None or scores[i] >= self.threshold)
            and (self.min_similarity is None or cosines[i] >= self.min_similarity)
        )
        return list(islice(passing, None if limit is None else min(limit, len(names))))


def _bound(name: str, value: object) -> float | None:
    return None if value is None else number(name, value, "a finite number, or None")


def check_top_k(top_k: object) -> int | None:
    """A number of predictions, or None for all.

    Raises:
        ClapError: it is no whole number of at least 1.
    """
    return maybe_whole("top_k", top_k)
