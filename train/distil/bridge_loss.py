"""The loss of distillation between bridges: tag by tag, and what the learned part takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clap_export.model.bridge import Bridge
from clap_export.model.clap import ClapModel
from train.machine.amp import autocast

# How much each part counts. Evidence is what labels are scored by; probabilities teach rare tags
# before there is any evidence of them; the tower's vector teaches what no tag has a name for.
DIRECTION, PROBABILITIES, MAP, HINT = 2.0, 0.2, 1.0, 0.5
# Of tags that never sound: without it they would count beyond all others.
SPREAD = 0.3


@dataclass(frozen=True, eq=False)
class Answer:
    """What a bridge makes of a batch.

    Attributes:
        tags: ``[batch, tags]`` probabilities.
        features: ``[batch, width]`` of the tower, as the learned map takes them.
        mapped: ``[batch, text_dim]``, what the map makes of them; None without a learned part.
    """

    tags: Tensor
    features: Tensor
    mapped: Tensor | None

    @classmethod
    def of(cls, model: ClapModel, log_mel: Tensor, amp: str = "off") -> Answer:
        """A bridge's answer to ``[batch, frames, n_mels]`` decibels; only its tower in ``amp``."""
        bridge = bridge_of(model)
        with autocast(log_mel.device, amp):
            vector, tagged = model.audio_encoder.tagged(log_mel)
        features = bridge.features(vector.float())
        mapped = model.audio_projection(features) if bridge.config.labels else None
        return cls(bridge.probabilities(tagged.float()), features, mapped)

    @classmethod
    def together(cls, answers: Sequence[Answer]) -> Answer:
        """The answers to several batches as those to one."""
        mapped = [answer.mapped for answer in answers if answer.mapped is not None]
        return cls(
            torch.cat([answer.tags for answer in answers]),
            torch.cat([answer.features for answer in answers]),
            torch.cat(mapped) if mapped else None,
        )


class BridgeLoss(nn.Module):
    """A student's answers against its teacher's.

    ``guess`` guesses the teacher's vector from the student's, which therefore has to hold what the
    teacher hears ("hints", Romero et al. 2015, arXiv 1412.6550). It learns along, and is thrown
    away after the run.

    Args:
        student: a bridge; its tags and its space are the teacher's.
        teacher: the bridge that is learned from.
        heard: the teacher's answers to some sounds, which say how much each tag varies. A tag
            counts the more the less it does, or speech and music would drown all others.
    """

    _bridge: Bridge
    weight: Tensor

    def __init__(self, student: ClapModel, teacher: ClapModel, heard: Answer) -> None:
        super().__init__()
        object.__setattr__(self, "_bridge", bridge_of(student))  # learns as part of the student
        self.guess = nn.Linear(student.audio_encoder.width, teacher.audio_encoder.width)
        weight = 1 / (self._bridge.evidence(heard.tags).std(dim=0, correction=0) + SPREAD)
        self.register_buffer("weight", weight / weight.mean())

    def forward(self, student: Answer, teacher: Answer) -> Tensor:
        """Mean loss of a batch."""
        ours, theirs = self._bridge.evidence(student.tags), self._bridge.evidence(teacher.tags)
        loss = ((ours - theirs).square() * self.weight).mean()
        loss = loss + DIRECTION * (1 - F.cosine_similarity(ours, theirs, dim=1)).mean()
        said = F.binary_cross_entropy(
            student.tags.nan_to_num().clamp(0, 1), teacher.tags.clamp(0, 1), reduction="none"
        )
        loss = loss + PROBABILITIES * said.sum(dim=1).mean()
        loss = loss + HINT * _relative(self.guess(student.features), teacher.features)
        if student.mapped is not None and teacher.mapped is not None:
            loss = loss + MAP * _relative(student.mapped, teacher.mapped)
        return loss


def bridge_of(model: ClapModel) -> Bridge:
    """What lies between a bridge's towers and its space."""
    assert model.bridge is not None
    return model.bridge


def _relative(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean square of the difference over that of what is wanted."""
    return (found - wanted).square().mean() / wanted.square().mean().clamp(min=1e-12)
