"""Which numbers a recipe should have, found on its own clips with classes left out.

Labels are dealt into groups. A group's clips, all of them, and half of the other labels' clips (by
recording) are kept from the fit; then all labels are candidates for what was kept. So half of the
test is of labels whose clips taught something, and the group stands for labels that nobody has
clips of. Tags alone are the measure: nothing was fitted to any clip there.

The handicap is not simply the best one. Groups are drawn from labels that a tagger knows well, so
that a large handicap, which hands clips back to the tags, always looks good in this test, and costs
more on labels it knows less. It is the smallest with which left-out labels keep the accuracy that
tags alone give them, less one standard error. That is of a mean over labels, not over clips: other
labels are what the numbers are for, and clips of one stand and fall together.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from clap_export.model.clap import normalise
from runtime.errors import ClapError
from train.bridge.build import Builder, spread
from train.bridge.lesson import Heard, fit
from train.config.bridge import AttentionConfig, LearnedConfig
from train.machine.random_streams import generator

log = logging.getLogger(__name__)

GROUPS = 5
TEMPERATURES = (0.02, 0.03, 0.05, 0.08)
RIDGES = (0.03, 0.3, 3.0)
TEXT_RIDGES = (0.1, 1.0)
WEIGHTS = (0.5, 1.0, 2.0, 4.0)
HANDICAPS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
CENTRES = (0.8, 0.9)


@dataclass(frozen=True)
class Choice:
    """One set of numbers and what it gives.

    Attributes:
        attention, learned: the numbers.
        heard: accuracy on clips of labels that others of their clips taught.
        left_out: on clips of labels that were left out.
        tags_heard, tags_left_out: of tags alone on the same clips.
    """

    attention: AttentionConfig
    learned: LearnedConfig
    heard: float
    left_out: float
    tags_heard: float
    tags_left_out: float


@dataclass(frozen=True, eq=False)
class _Fold:
    """One group left out: clips that were kept from the fit.

    Attributes:
        test: rows of the clips.
        new: of those, whose label was left out.
        taught: the other labels, by their numbers.
        answers: ``[clips, taught]``, how much the clips speak for those.
        near: ``[labels]``, cosine to the nearest label that taught.
    """

    test: Tensor
    new: Tensor
    taught: list[int]
    answers: Tensor
    near: Tensor


class Chooser:
    """Tries numbers on a recipe's clips.

    Args:
        builder: of the two towers.
        heard: what the tagger makes of the clips.
        recordings: of the clips; those of one are on one side.
        learned: what is not tried, and how many clips a label needs.

    Raises:
        ClapError: too few labels.
    """

    def __init__(
        self, builder: Builder, heard: Heard, recordings: Sequence[str], learned: LearnedConfig
    ) -> None:
        names, counts = np.unique(heard.labels, return_counts=True)
        labels = [str(n) for n, c in zip(names, counts, strict=True) if c >= learned.clips_least]
        if len(labels) < GROUPS:
            raise ClapError(
                f"--choose needs {GROUPS} labels of {learned.clips_least} clips at least, there "
                f"are {len(labels)}."
            )
        kept = [label in labels for label in heard.labels]
        self._heard, self._learned, self._labels = heard.rows(kept), learned, labels
        self._usual = heard.usual
        texts, centre = builder.read(labels), builder.names.mean(dim=0)
        self._texts, self._apart = texts, normalise(texts - centre)
        self._near_tags = self._apart @ normalise(builder.names - centre).T
        self._truth = torch.tensor([labels.index(label) for label in self._heard.labels])
        rng = generator(0, "bridge")
        of = [name for name, keep in zip(recordings, kept, strict=True) if keep]
        half = {name: bool(rng.integers(2)) for name in dict.fromkeys(of)}
        self._half = torch.tensor([half[name] for name in of])
        self._group = torch.from_numpy(rng.permutation(len(labels)) % GROUPS)[self._truth]

    def best(self, attention: AttentionConfig) -> Choice:
        """The numbers to take, each found with those before it."""
        attention = max(
            (replace(attention, temperature=t) for t in TEMPERATURES),
            key=lambda a: self._accuracy(self._by_tags(a)),
        )
        tags = self._by_tags(attention)
        found: list[Choice] = []
        for ridge in RIDGES:
            folds = list(self._folds(ridge))
            for text_ridge, weight, centre in itertools.product(TEXT_RIDGES, WEIGHTS, CENTRES):
                tried = replace(
                    self._learned, ridge=ridge, text_ridge=text_ridge, weight=weight,
                    gate_centre=centre,
                )  # fmt: skip
                if (choice := self._fair(tags, folds, attention, tried)) is not None:
                    found.append(choice)
                    log.info(
                        "ridge %g, text ridge %g, weight %g, gate at %g, handicap %g: heard %.1f %%"
                        ", left out %.1f %%", ridge, text_ridge, weight, centre,
                        choice.learned.handicap, 100 * choice.heard, 100 * choice.left_out,
                    )  # fmt: skip
        if not found:
            raise ClapError("--choose: no numbers leave labels without clips what tags give them.")
        return max(found, key=lambda choice: choice.heard + choice.left_out)

    def _fair(
        self, tags: Tensor, folds: Sequence[_Fold], attention: AttentionConfig, tried: LearnedConfig
    ) -> Choice | None:
        """With the smallest handicap that left-out labels bear; None if none is enough."""
        by_tags = [self._right(tags[f.test], f) for f in folds]
        tags_heard, tags_new = _shares(by_tags)
        least = tags_new - self._error([new for _, new in by_tags], folds)
        gates = [((f.near - tried.gate_centre) / tried.gate_width).sigmoid() for f in folds]
        mapped = [tried.weight * self._mapped(f, tried.text_ridge) for f in folds]
        for handicap in HANDICAPS:
            heard, new = _shares([
                self._right(tags[f.test] + gate * (answer - handicap), f)
                for f, gate, answer in zip(folds, gates, mapped, strict=True)
            ])  # fmt: skip
            if new >= least:
                made = replace(tried, handicap=handicap)
                return Choice(attention, made, heard, new, tags_heard, tags_new)
        return None

    def _folds(self, ridge: float) -> Iterator[_Fold]:
        for group, half in itertools.product(range(GROUPS), (False, True)):
            out = self._group == group
            taught = (~out & (self._half == half)).tolist()
            lesson = fit(self._heard.rows(taught), "", ridge, 1)
            rows = [self._labels.index(label) for label in lesson.labels]
            # Clips of left-out labels are tested once, with the fit of the half they are not in.
            test = torch.nonzero(self._half != half).flatten()
            answers = self._heard.features[test] @ lesson.answers.T + lesson.offset
            near = (self._texts @ self._texts[rows].T).max(dim=1).values
            yield _Fold(test, out[test], rows, answers, near)

    def _mapped(self, fold: _Fold, text_ridge: float) -> Tensor:
        """``[clips, labels]``, the learned part's answer."""
        matrix = spread(self._apart[fold.taught], text_ridge)
        return fold.answers @ matrix @ self._apart.T

    def _by_tags(self, attention: AttentionConfig) -> Tensor:
        """``[clips, labels]``, the evidence that each label finds."""
        floor = attention.floor
        evidence = torch.log((self._heard.probabilities + floor) / (self._usual + floor))
        return evidence @ (self._near_tags / attention.temperature).softmax(dim=1).T

    def _right(self, scores: Tensor, fold: _Fold) -> tuple[Tensor, Tensor]:
        right = scores.argmax(dim=1) == self._truth[fold.test]
        return right[~fold.new], right[fold.new]

    def _error(self, right: Sequence[Tensor], folds: Sequence[_Fold]) -> float:
        """The standard error of the mean over left-out labels of how often each is right."""
        of = torch.cat([self._truth[f.test[f.new]] for f in folds])
        each = torch.cat(list(right)).double()
        shares = torch.stack([each[of == label].mean() for label in of.unique()])
        return float(shares.std(correction=1) / len(shares) ** 0.5)

    def _accuracy(self, scores: Tensor) -> float:
        return float((scores.argmax(dim=1) == self._truth).float().mean())


def _shares(right: Sequence[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """Accuracy on labels with clips and on those left out."""
    heard, new = (torch.cat(part).float() for part in zip(*right, strict=True))
    return float(heard.mean()), float(new.mean())
