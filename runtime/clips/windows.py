"""Windows of fixed length over clips of any length, deterministic and without losing a sample.

Training and evaluation cut with these same functions, so that their numbers are deployment's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

if TYPE_CHECKING:
    from runtime.audio_spec import AudioSpec, Fill


def fill(samples: NDArray[np.float32], window_samples: int, rule: Fill) -> NDArray[np.float32]:
    """Extend a clip that is shorter than the window.

    Args:
        samples: ``[n]`` with ``1 <= n <= window_samples``.
        window_samples: wanted length.
        rule: ``repeat`` tiles the clip and cuts the last copy, ``repeatpad`` puts as many whole
            copies as fit and then zeros, ``pad`` puts zeros.

    Returns:
        float32 ``[window_samples]``.

    Raises:
        ValueError: no samples, more than the window holds, or an unknown rule.
    """
    n = len(samples)
    if not 1 <= n <= window_samples:
        raise ValueError(f"a clip of {n} samples cannot be filled up to {window_samples}")
    if rule == "repeat":
        return np.resize(samples, window_samples)
    if rule not in ("repeatpad", "pad"):
        raise ValueError(f"unknown fill rule {rule!r}")
    copies = window_samples // n if rule == "repeatpad" else 1
    result = np.zeros(window_samples, np.float32)
    result[: copies * n] = np.tile(samples, copies)
    return result


def starts(n_samples: int, window: int, hop: int) -> NDArray[np.int64]:
    """Where the windows of a clip start.

    A clip that fits has one window. A longer one has windows every ``hop`` samples as long as they
    end inside it; if the last of these does not end exactly with the clip, one more is aligned to
    the clip's end. So every sample is in a window (for ``hop <= window``) and none is padded.

    Args:
        n_samples: length of the clip.
        window: length of a window, in samples.
        hop: distance between starts, in samples.

    Returns:
        int64 ``[n_windows]``, ascending.

    Raises:
        ValueError: an argument below 1.
    """
    if min(n_samples, window, hop) < 1:
        raise ValueError(f"n_samples={n_samples}, window={window}, hop={hop} must be at least 1")
    if n_samples <= window:
        return np.zeros(1, np.int64)
    last = n_samples - window
    regular = np.arange(0, last + 1, hop, dtype=np.int64)
    return regular if regular[-1] == last else np.append(regular, last)


def cut(
    samples: NDArray[np.float32], spec: AudioSpec, hop: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """All windows of a clip.

    Args:
        samples: float32 ``[n]`` at the spec's rate, n >= 1.
        spec: the bundle's audio specification: window, default hop and fill rule.
        hop: distance between the windows' starts in samples; default ``spec.hop_samples``.

    Returns:
        windows float32 ``[n_windows, window_samples]``, and their starts in samples, int64.

    Raises:
        ValueError: no samples, or a hop below 1.
    """
    at = starts(len(samples), spec.window_samples, spec.hop_samples if hop is None else hop)
    if len(samples) < spec.window_samples:
        samples = fill(samples, spec.window_samples, spec.fill)
    return sliding_window_view(samples, spec.window_samples)[at], at


def rows(samples: NDArray[np.float32], spec: AudioSpec) -> NDArray[np.float32]:
    """A clip as it is embedded: its windows, or with feature fusion the whole clip as one row.

    Args:
        samples: float32 ``[n]`` at the spec's rate, n >= 1.
        spec: the bundle's audio specification.

    Returns:
        float32 ``[n_windows, window_samples]``; with feature fusion ``[1, >= window_samples]``.
    """
    if spec.long_clips == "fusion" and len(samples) > spec.window_samples:
        return samples[None]
    return cut(samples, spec)[0]
