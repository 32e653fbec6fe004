"""What is searched for: texts, recordings and vectors, added and taken away, as one vector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from runtime.arguments import number, shown
from runtime.errors import ClapError

if TYPE_CHECKING:
    from runtime.audio import Source
    from runtime.encoder import Encoder

    Texts: TypeAlias = str | Sequence[str] | Mapping[str, float]
    Sounds: TypeAlias = Source | Sequence[Source]

LEAST = 1e-6  # norm of a sum that still has a direction
MOST = 1e30  # weight of a text: the squares of all of them are numbers too


@dataclass(frozen=True, eq=False)
class Query:
    """What is searched for; at least one of the first three.

    Attributes:
        text: one or several, each as often as it is there, or a table of texts and their weights.
        like: recordings.
        vector: ``[dim]`` of any norm.
        minus: texts that are taken away, as ``text``.
        unlike: recordings that are taken away.
    """

    text: Texts | None = None
    like: Sounds | None = None
    vector: Any = None
    minus: Texts | None = None
    unlike: Sounds | None = None

    def __post_init__(self) -> None:
        if self.text is None and self.like is None and self.vector is None:
            raise ClapError("nothing is searched for: pass text, like or vector.")

    @property
    def hears(self) -> bool:
        """Whether recordings are to be embedded."""
        return self.like is not None or self.unlike is not None

    @property
    def reads(self) -> bool:
        """Whether texts are to be embedded."""
        return self.text is not None or self.minus is not None

    def embedding(self, dim: int, encoder: Encoder | None) -> NDArray[np.float32]:
        """Float32 ``[dim]`` of unit norm: the weighted sum of unit vectors.

        Args:
            dim: of the library.
            encoder: for texts and recordings, if there are any.

        Raises:
            ClapError: an argument that cannot be used, or terms that cancel out.
        """
        total = np.zeros(dim)
        if self.vector is not None:
            total += _unit(self.vector, dim)
        for given, sign in (
            (_weighted("text", self.text), 1),
            (_weighted("minus", self.minus), -1),
        ):
            if given:
                assert encoder is not None
                weights = sign * np.array(list(given.values()))
                total += weights @ encoder.embed_text(list(given)).astype(np.float64)
        for sounds, sign in ((self.like, 1), (self.unlike, -1)):
            if sounds is not None:
                assert encoder is not None
                total += sign * encoder.embed_audio(sounds).sum(axis=0, dtype=np.float64)
        norm = float(np.linalg.norm(total))
        if not norm > LEAST:
            raise ClapError("the terms of the query cancel out: no direction is left to search in.")
        return (total / norm).astype(np.float32)


def _weighted(name: str, given: Texts | None) -> dict[str, float]:
    if given is None:
        return {}
    if isinstance(given, str):
        return {given: 1.0}
    if isinstance(given, Mapping):
        return {text: _weight(f"{name}[{shown(text)}]", weight) for text, weight in given.items()}
    if isinstance(given, (bytes, bytearray)) or not isinstance(cast(object, given), Iterable):
        raise ClapError(f"{name}={shown(given)}: pass one text, several, or a table of weights.")
    found: dict[str, float] = {}
    for text in given:
        found[text] = found.get(text, 0.0) + 1.0
    return found


def _weight(name: str, given: object) -> float:
    weight = number(name, given)
    if abs(weight) > MOST:
        raise ClapError(f"{name}={shown(given)}: pass a weight of at most {MOST:g}.")
    return weight


def _unit(vector: object, dim: int) -> NDArray[np.float64]:
    try:
        found = np.asarray(vector, np.float64)
    except (TypeError, ValueError) as error:
        raise ClapError(f"vector={shown(vector)}: pass an array of {dim} numbers.") from error
    if found.shape != (dim,) or not np.isfinite(found).all():
        raise ClapError(
            f"vector of shape {found.shape}: pass {dim} finite numbers, as the library's vectors."
        )
    most = float(np.abs(found).max(initial=0.0))
    if not most > 0:
        raise ClapError("the vector is zero: it has no direction to search in.")
    found = found / most  # its squares are numbers then, however large or small it is
    return found / np.linalg.norm(found)
