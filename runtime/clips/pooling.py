"""From the embeddings of windows to that of a recording."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtime.errors import AudioError, BackendError, BundleError

if TYPE_CHECKING:
    from typing import TypeAlias

    from runtime.clips.clip import Piece
    from runtime.clips.policy import Pooling

    Embeddings: TypeAlias = NDArray[np.float32]

NORM_TOLERANCE = 1e-2  # the norm is taken in float32; TensorRT may round the result to half


def mean_embedding(rows: Embeddings) -> Embeddings:
    """Mean of unit vectors ``[n, dim]``, n >= 1, scaled to unit norm again: ``[dim]`` float32."""
    return _unit(rows.mean(axis=0, dtype=np.float64))


class Pool:
    """The embedding of a recording whose windows come bit by bit.

    Args:
        pooling: how windows count; see :class:`runtime.clips.policy.Policy`. Not ``max``.
    """

    def __init__(self, pooling: Pooling = "mean") -> None:
        self._pooling = pooling
        self._sum: NDArray[np.float64] = np.zeros(1)
        self._weight = 0.0

    def add(self, rows: Embeddings, piece: Piece) -> None:
        """Take more windows.

        Args:
            rows: their embeddings float32 ``[n, dim]`` of unit norm; for ``raw_mean`` the vectors
                as the encoder gives them.
            piece: the windows.

        Raises:
            AudioError: rows that are not finite, or should be of unit norm and are not.
        """
        check_heard(rows, unit=self._pooling != "raw_mean")
        weights = np.ones(len(rows))
        if self._pooling == "energy":
            # A little for each, so that silence has an embedding too.
            weights = np.array([1e-12 + mean_square(row) for row in np.asarray(piece.rows)])
        # One after the other: however the windows come in pieces, the sum is the same to the bit.
        for row, weight in zip(rows, weights.tolist(), strict=True):
            self._sum = self._sum + (row * np.float64(weight) if weight != 1.0 else row)
            self._weight += weight

    def embedding(self) -> Embeddings:
        """Float32 ``[dim]`` of unit norm."""
        return _unit(self._sum / self._weight)


class Peaks:
    """The highest scores of a recording's windows, label by label.

    Args:
        cosines: of one embedding ``[dim]`` to the labels.
        scores: of cosines ``[labels]``.

    Attributes:
        cosines: the highest of each label, float32 ``[labels]``.
        scores: the highest of each label, float64 ``[labels]``.
    """

    def __init__(
        self,
        cosines: Callable[[Embeddings], NDArray[np.float32]],
        scores: Callable[[NDArray[np.float32]], NDArray[np.float64]],
    ) -> None:
        self._cosines_of, self._scores_of = cosines, scores
        self.cosines: NDArray[np.float32] = np.full(1, -np.inf, np.float32)
        self.scores: NDArray[np.float64] = np.full(1, -np.inf)

    def add(self, rows: Embeddings, piece: Piece) -> None:
        """Take more windows; see :meth:`Pool.add`."""
        for row in check_heard(rows):
            cosines = self._cosines_of(mean_embedding(row[np.newaxis]))
            self.cosines = np.maximum(self.cosines, cosines)
            self.scores = np.maximum(self.scores, self._scores_of(cosines))


def check_heard(rows: Embeddings, unit: bool = True) -> Embeddings:
    """Embeddings of a recording's windows as they are.

    Raises:
        AudioError: they are not finite, or not of unit norm where that is asked for.
    """
    if not np.isfinite(rows).all() or (unit and _off(rows) > NORM_TOLERANCE):
        # An overflow behind the last division leaves zeros.
        raise AudioError(
            "the model's embedding of this recording is not finite: its samples are beyond what "
            "the model can take, or the encoder overflows in half precision (export it as fp32)."
        )
    return rows


def mean_square(row: NDArray[np.float32]) -> float:
    """The energy of a window, by sample."""
    return float(np.mean(np.square(row, dtype=np.float64)))


def check_finite(rows: Embeddings) -> Embeddings:
    """Embeddings as they are.

    Raises:
        BackendError: one of them is not finite.
        BundleError: one is not of unit norm, which the graph should have seen to.
    """
    if not np.isfinite(rows).all():
        # Seen when a half-precision encoder overflows; as scores it would sort at random.
        raise BackendError(
            "the engine returned embeddings that are not finite. "
            "Export the bundle with another precision (fp32)."
        )
    if (off := _off(rows)) > NORM_TOLERANCE:
        raise BundleError(
            f"the graph returned embeddings that are not of unit norm (off by {off:.3g}). "
            "Export the bundle again."
        )
    return rows


def _off(rows: Embeddings) -> float:
    """How far the norm of the worst row is from 1."""
    return float(np.abs(np.linalg.norm(rows, axis=1) - 1).max(initial=0.0))


def _unit(mean: NDArray[np.float64]) -> Embeddings:
    # Opposite vectors may cancel out: no direction is left, and zero is similar to nothing.
    return (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)
