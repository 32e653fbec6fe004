"""Long clips for models with feature fusion: an overview of the whole clip, and three chunks of it.

LAION's fusion (Wu et al. 2023, arXiv 2211.06687) hears a clip of more than one window at once: its
log-mel spectrogram shrunk to a window's frames by linear interpolation, and three stretches of it
in full. The originals draw the stretches at random; here each is the middle one of its third.

The graph computes the spectrogram and picks frames by index, so it needs only the samples under the
frames that are picked. Those of a long clip are gathered here, and its cost stays bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

if TYPE_CHECKING:
    from runtime.manifest import AudioSpec

# Inputs of a fused audio graph, in order; docs/bundle-format.md specifies them.
INPUTS = ("waveform", "overview", "overview_weight", "chunks", "longer")


def chunk_starts(total: int, frames: int) -> NDArray[np.int64]:
    """First frames of the three chunks: the middle start of each third of the possible ones.

    Args:
        total: frames of the clip, at least ``frames``.
        frames: of a chunk.

    Returns:
        int64 ``[3]``.
    """
    count, first = total - frames + 1, 0
    found: list[int] = []
    for third in range(3):
        size = count // 3 + (third < count % 3)
        found.append(first + size // 2 if size else 0)
        first += size
    return np.array(found, np.int64)


def overview_positions(total: int, frames: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Where the frames of the overview lie in the clip: lower neighbours, and weights of the upper.

    It is the linear resize of PyTorch (``align_corners=False``, no antialiasing), whose float32
    positions are kept because checkpoints were trained behind them. When nothing is to be shrunk,
    every frame is itself.

    Args:
        total: frames of the clip, at least ``frames`` and 2.
        frames: of the overview.

    Returns:
        int64 and float32 ``[frames]``: frame ``lower`` has weight ``1 - weight``, the next one
        ``weight``.
    """
    scale = float(np.float32(total / frames))
    # Rounded once, as by the fused multiply-add that PyTorch's resize is compiled to.
    middle: NDArray[np.float64] = np.arange(frames, dtype=np.float64) + 0.5
    position = np.maximum(scale * middle - 0.5, 0.0).astype(np.float32)
    lower = np.minimum(position.astype(np.int64), total - 2)
    return lower, position - lower.astype(np.float32)


def inputs(rows: Sequence[NDArray[np.float32]], spec: AudioSpec) -> dict[str, NDArray[np.generic]]:
    """What the graph takes for a batch of clips, long and short ones in any mixture.

    Args:
        rows: clips float32 ``[samples]`` at the spec's rate; the short ones filled to the window.
        spec: the bundle's audio specification.

    Returns:
        ``waveform`` float32 ``[batch, samples]``, a multiple of the mel hop; ``overview`` int64 and
        ``overview_weight`` float32 ``[batch, frames]``; ``chunks`` int64 ``[batch, 3]``;
        ``longer`` bool ``[batch]``. Indices are frames of ``waveform``.
    """
    hop, half = spec.mel.hop_length, spec.mel.n_fft // 2
    frames = 1 + spec.window_samples // hop
    waves: list[NDArray[np.float32]] = []
    overview = np.empty((len(rows), frames), np.int64)
    weight = np.empty((len(rows), frames), np.float32)
    chunks = np.zeros((len(rows), 3), np.int64)
    longer = np.zeros(len(rows), np.bool_)
    for i, row in enumerate(rows):
        total = 1 + len(row) // hop
        # Less than a hop over the window has no frame more: not longer, as in the original.
        longer[i] = total > frames
        overview[i], weight[i] = overview_positions(total, frames)
        if longer[i]:
            chunks[i] = chunk_starts(total, frames)
            if gathered_samples(spec) < len(row):
                row, overview[i], chunks[i] = _gather(row, spec, overview[i], chunks[i])
        waves.append(row)
    # The graph mirrors what lies behind its last sample. A row that ends before the others, or off
    # the hop, brings that mirror image itself.
    longest = max(map(len, waves))
    if longest % hop or any(len(wave) != longest for wave in waves):
        longest = -(-(longest + half) // hop) * hop
        waves = [_extended(wave, half, longest) for wave in waves]
    return dict(zip(INPUTS, (np.stack(waves), overview, weight, chunks, longer), strict=True))


def batches(
    rows: Sequence[NDArray[np.float32]], spec: AudioSpec, size: int
) -> Iterator[Sequence[NDArray[np.float32]]]:
    """Cut rows into batches of which none holds more samples than ``size`` windows, if it can."""
    start = 0
    while start < len(rows):
        end, longest = start, 0
        while end < len(rows):
            longest = max(longest, min(len(rows[end]), gathered_samples(spec)))
            if end > start and (end + 1 - start) * longest > size * spec.window_samples:
                break
            end += 1
        yield rows[start:end]
        start = end


def gathered_samples(spec: AudioSpec) -> int:
    """Samples that stand for any longer clip, about seven windows."""
    lead, slot, stretch = _layout(spec)
    frames = 1 + spec.window_samples // spec.mel.hop_length
    hop = spec.mel.hop_length
    return -(-(lead + frames * slot + 3 * stretch) // hop) * hop


def _layout(spec: AudioSpec) -> tuple[int, int, int]:
    """Samples before the first gathered frame, of an overview's pair, and of a chunk.

    Each is such that frames keep to the graph's grid, on which frame g is centred at ``g * hop``.
    """
    hop, n_fft = spec.mel.hop_length, spec.mel.n_fft
    window = spec.window_samples // hop * hop
    return -(n_fft // 2) % hop, -(-(n_fft + hop) // hop) * hop, -(-(window + n_fft) // hop) * hop


def _gather(
    row: NDArray[np.float32],
    spec: AudioSpec,
    overview: NDArray[np.int64],
    chunks: NDArray[np.int64],
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """The samples under the frames wanted, and these frames' numbers in them."""
    hop, n_fft = spec.mel.hop_length, spec.mel.n_fft
    lead, slot, stretch = _layout(spec)
    mirrored = np.pad(row, n_fft // 2, mode="reflect")
    result: NDArray[np.float32] = np.zeros(gathered_samples(spec), np.float32)
    pairs = np.reshape(result[lead : lead + len(overview) * slot], (len(overview), slot))
    pairs[:, : n_fft + hop] = sliding_window_view(mirrored, n_fft + hop)[overview * hop]
    length = (len(overview) - 1) * hop + n_fft
    at = [lead + len(overview) * slot + i * stretch for i in range(len(chunks))]
    for start, chunk in zip(at, chunks, strict=True):
        result[start : start + length] = mirrored[chunk * hop : chunk * hop + length]
    centre = (lead + n_fft // 2) // hop
    moved = centre + np.arange(len(overview), dtype=np.int64) * (slot // hop)
    return result, moved, np.array([(start + n_fft // 2) // hop for start in at], np.int64)


def _extended(wave: NDArray[np.float32], half: int, samples: int) -> NDArray[np.float32]:
    result = np.zeros(samples, np.float32)
    mirrored = np.pad(wave, (0, half), mode="reflect")
    result[: len(mirrored)] = mirrored
    return result
