"""From the embeddings of windows to that of a recording."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runtime.errors import AudioError, BackendError, BundleError

if TYPE_CHECKING:
    from typing import TypeAlias

    Embeddings: TypeAlias = NDArray[np.float32]

NORM_TOLERANCE = 1e-2  # the norm is taken in float32; TensorRT may round the result to half


def mean_embedding(rows: Embeddings) -> Embeddings:
    """Mean of unit vectors ``[n, dim]``, n >= 1, scaled to unit norm again: ``[dim]`` float32."""
    mean = rows.mean(axis=0, dtype=np.float64)
    # Opposite vectors may cancel out: no direction is left, and zero is similar to nothing.
    return (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)


def clip_embedding(rows: Embeddings) -> Embeddings:
    """:func:`mean_embedding` of a recording's windows, if they are finite and of unit norm.

    Raises:
        AudioError: they are not.
    """
    if not np.isfinite(rows).all() or _off(rows) > NORM_TOLERANCE:
        # An overflow behind the last division leaves zeros.
        raise AudioError(
            "the model's embedding of this recording is not finite: its samples are beyond what "
            "the model can take, or the encoder overflows in half precision (export it as fp32)."
        )
    return mean_embedding(rows)


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
