"""A tagger and a text encoder in one space, without a pair of sound and text.

A tagger says how probable each of its tags is in a clip; a text encoder says how near a label is to
each tag's name. A label's score is then the sum over tags of what was heard of a tag, against what
is usual, times the attention that the label pays to it:

    score = sum_k w_k log((p_k + floor) / (usual_k + floor)),
    w = softmax(cos(text - centre, tag_k - centre) / temperature)

Where labelled clips taught a linear map of the tower's vector into the text encoder's space, its
answer counts as well, for texts near one of those labels (Romera-Paredes and Torr 2015, "An
embarrassingly simple approach to zero-shot learning", is that map):

    gate = sigmoid((cos to the nearest label - gate_centre) / gate_width)
    score + gate * (unit(text - centre) . map - handicap)

Both are one dot product: audio gives [evidence, map, constant, 0], text gives [attention, gated
text, -gated handicap, rest]. The rest fills every text up to one length, so that scaling both sides
to unit norm changes no clip's order of labels. Numbers of a map's scale are in its weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clap_export.model.bridge_config import BridgeConfig


class Bridge(nn.Module):
    """What lies between two towers and their space.

    Args:
        config: the space.
        tagged_width: of the vectors that tags are told from.
    """

    usual: Tensor
    centre: Tensor
    tags: Tensor
    labels: Tensor

    def __init__(self, config: BridgeConfig, tagged_width: int) -> None:
        super().__init__()
        self.config = config
        tags, dim = len(config.tags), config.text_dim
        self.head = nn.Linear(tagged_width, tags)
        self.register_buffer("usual", torch.full((tags,), 0.01))
        self.register_buffer("centre", torch.zeros(dim))
        self.register_buffer("tags", torch.zeros(tags, dim))
        self.register_buffer("labels", torch.zeros(config.labels, dim))

    def probabilities(self, tagged: Tensor) -> Tensor:
        """What the tagger hears: ``[batch, patches, tagged_width]`` to ``[batch, tags]``."""
        return self.head(tagged).sigmoid().mean(dim=1)

    def evidence(self, heard: Tensor) -> Tensor:
        """What was heard of each tag, against what is usual: ``[batch, tags]`` of probabilities."""
        floor = self.config.floor
        return torch.log(heard + floor) - torch.log(self.usual + floor)

    def features(self, vector: Tensor) -> Tensor:
        """What the learned map takes of the tower's vector ``[batch, width]``."""
        return vector.clamp(min=0).sqrt() if self.config.root else vector

    def audio(self, tagged: Tensor, mapped: Tensor | None) -> Tensor:
        """A clip's vector ``[batch, dim]``, not normalised.

        Args:
            tagged: ``[batch, patches, tagged_width]``.
            mapped: ``[batch, text_dim]``, what the learned map makes of :meth:`features`.
        """
        evidence = self.evidence(self.probabilities(tagged).float())
        nothing = torch.zeros_like(evidence[:, :1])
        if mapped is None:
            return torch.cat([evidence, nothing], dim=1)
        constant = nothing + self.config.constant
        return torch.cat([evidence, mapped.float(), constant, nothing], dim=1)

    def text(self, states: Tensor) -> Tensor:
        """A text's vector ``[batch, dim]``, of one length for all texts.

        Args:
            states: ``[batch, text_dim]`` of the text encoder, not normalised.
        """
        config = self.config
        text = _unit(states)
        apart = _unit(text - self.centre)
        attention = ((apart @ self.tags.T).float() / config.temperature).softmax(dim=1)
        parts = [attention]
        if config.labels:
            nearest = (text @ self.labels.T).float().amax(dim=1, keepdim=True)
            gate = ((nearest - config.gate_centre) / config.gate_width).sigmoid()
            parts += [config.learned * gate * apart, -config.against * gate]
        whole = torch.cat(parts, dim=1)
        rest = config.length**2 - whole.square().sum(dim=1, keepdim=True)
        return torch.cat([whole, rest.clamp(min=0).sqrt()], dim=1)


def _unit(x: Tensor) -> Tensor:
    x = x.float()
    return x / x.square().sum(dim=1, keepdim=True).clamp(min=1e-24).sqrt()
