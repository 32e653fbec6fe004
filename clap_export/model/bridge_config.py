"""What is needed to rebuild a bridge, the part between a tagger and a text encoder."""

from __future__ import annotations

import math
from dataclasses import dataclass

from clap_export.model.bounds import MAX_TAGS, MAX_WIDTH, within


@dataclass(frozen=True)
class BridgeConfig:
    """How a tagger and a text encoder share a space; see :mod:`clap_export.model.bridge`.

    Attributes:
        tags: names of what the tagger hears.
        text_dim: dimensions of the text encoder behind its projection.
        labels: how many labels' clips the learned part was fitted to; 0 for no such part.
        temperature: of the softmax over tags.
        floor: added to probabilities before their logarithm.
        gate_centre, gate_width: cosine to the nearest of the labels at which the learned part
            counts half, and how quickly that changes.
        learned: length of the gated part of a text.
        against: what the gate takes from a text's score, as the text has it.
        constant: the audio vector's factor on that.
        root: the learned part is fitted to roots of the tower's vector, which is never negative.
    """

    tags: tuple[str, ...]
    text_dim: int
    labels: int = 0
    temperature: float = 0.03
    floor: float = 1e-3
    gate_centre: float = 0.9
    gate_width: float = 0.03
    learned: float = 0.25
    against: float = 0.0
    constant: float = 8.0
    root: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "tags", tuple(self.tags))
        within("tags: their number", len(self.tags), MAX_TAGS)
        within("text_dim", self.text_dim, MAX_WIDTH)
        within("labels", self.labels, MAX_TAGS, least=0)
        for name in ("temperature", "floor", "gate_width"):
            within(name, getattr(self, name), 1.0, least=1e-6)
        within("gate_centre", self.gate_centre, 1.0, least=-1.0)
        for name in ("learned", "against", "constant"):
            within(name, getattr(self, name), 1e3, least=0)

    @property
    def dim(self) -> int:
        """Dimensions of the shared space: tags, the learned part and its constant, padding."""
        return len(self.tags) + (self.text_dim + 1) * bool(self.labels) + 1

    @property
    def length(self) -> float:
        """No text is longer before it is padded: weights of tags have a length of at most 1."""
        return math.hypot(1.0, *(self.learned, self.against) if self.labels else ())
