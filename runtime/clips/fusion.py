"""Long clips for models with feature fusion: an overview of the whole clip, and three chunks of it.

LAION's fusion (Wu et al. 2023, arXiv 2211.06687) hears a clip of more than one window at once: its
log-mel spectrogram shrunk to a window's frames by linear interpolation, and three stretches of it
in full. The originals draw the stretches at random; here each is the middle one of its third.

The graph computes the spectrogram and picks frames by index, so it needs only the samples under the
frames that are picked. Those of a long clip are gathered here, and its cost stays bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from runtime.audio_spec import AudioSpec

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


@dataclass(frozen=True, eq=False)
class Gathered:
    """The samples of a long clip that its spectrogram is needed of.

    Attributes:
        samples: float32 ``[gathered_samples]``.
        total: samples of the clip.
    """

    samples: NDArray[np.float32]
    total: int

    def __len__(self) -> int:
        return len(self.samples)


def inputs(
    rows: Sequence[NDArray[np.float32] | Gathered], spec: AudioSpec, always_longer: bool = False
) -> dict[str, NDArray[np.generic]]:
    """What the graph takes for a batch of clips, long and short ones in any mixture.

    Args:
        rows: clips float32 ``[samples]`` at the spec's rate, the short ones filled to the window;
            or what was gathered of a long one.
        spec: the bundle's audio specification.
        always_longer: call every clip longer, also one that fits into a window. transformers'
            ``ClapFeatureExtractor`` does so with a clip that is alone in its batch; the model then
            hears the clip four times.

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
        samples = row.total if isinstance(row, Gathered) else len(row)
        total = 1 + samples // hop
        # Less than a hop over the window has no frame more: not longer, as in the original.
        longer[i] = total > frames
        overview[i], weight[i] = overview_positions(total, frames)
        if longer[i]:
            chunks[i] = chunk_starts(total, frames)
        if isinstance(row, np.ndarray) and longer[i] and gathered_samples(spec) < samples:
            gatherer = Gatherer(spec, samples)
            gatherer.push(row)
            row = gatherer.finish()
        if isinstance(row, Gathered):
            row, (overview[i], chunks[i]) = row.samples, _gathered_frames(spec)
        waves.append(row)
    # The graph mirrors what lies behind its last sample. A row that ends before the others, or off
    # the hop, brings that mirror image itself.
    longest = max(map(len, waves))
    if longest % hop or any(len(wave) != longest for wave in waves):
        longest = -(-(longest + half) // hop) * hop
        waves = [_extended(wave, half, longest) for wave in waves]
    longer |= always_longer
    return dict(zip(INPUTS, (np.stack(waves), overview, weight, chunks, longer), strict=True))


def batches(
    rows: Sequence[NDArray[np.float32] | Gathered], spec: AudioSpec, size: int
) -> Iterator[Sequence[NDArray[np.float32] | Gathered]]:
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


def _gathered_frames(spec: AudioSpec) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the overview's frames and the chunks' first ones are in gathered samples."""
    hop, half = spec.mel.hop_length, spec.mel.n_fft // 2
    lead, slot, stretch = _layout(spec)
    frames = 1 + spec.window_samples // hop
    overview = (lead + half) // hop + np.arange(frames, dtype=np.int64) * (slot // hop)
    first = lead + frames * slot
    return overview, np.array([(first + i * stretch + half) // hop for i in range(3)], np.int64)


class Gatherer:
    """Gathers what a long clip's spectrogram is needed of, as its samples come.

    Args:
        spec: the bundle's audio specification.
        total: samples of the clip, more than :func:`gathered_samples`.
    """

    def __init__(self, spec: AudioSpec, total: int) -> None:
        hop, n_fft = spec.mel.hop_length, spec.mel.n_fft
        lead, slot, stretch = _layout(spec)
        frames, count = 1 + spec.window_samples // hop, 1 + total // hop
        pairs = overview_positions(count, frames)[0] * hop
        chunks = chunk_starts(count, frames) * hop
        # Places in the clip as the graph would mirror it: half a frame before its first sample on.
        self._begin: NDArray[np.int64] = np.concatenate([pairs, chunks]) - n_fft // 2
        self._end: NDArray[np.int64] = self._begin + np.repeat(
            [n_fft + hop, (frames - 1) * hop + n_fft], [frames, len(chunks)]
        )
        first = lead + frames * slot
        self._at: list[int] = [lead + i * slot for i in range(frames)]
        self._at += [first + i * stretch for i in range(len(chunks))]
        self._result: NDArray[np.float32] = np.zeros(gathered_samples(spec), np.float32)
        self._total, self._seen, self._edge = total, 0, n_fft // 2 + 1
        self._first = self._last = np.empty(0, np.float32)

    def push(self, block: NDArray[np.float32]) -> None:
        """The next samples, float32 ``[n]``."""
        missing = self._edge - len(self._first)
        self._first = np.concatenate([self._first, block[:missing]])
        self._last = np.concatenate([self._last, block[-self._edge :]])[-self._edge :]
        self._copy(block, self._seen)
        self._seen += len(block)

    def finish(self) -> Gathered:
        """What was gathered."""
        self._copy(self._first[:0:-1], 1 - len(self._first))
        self._copy(self._last[-2::-1], self._total)
        return Gathered(self._result, self._total)

    def _copy(self, block: NDArray[np.float32], start: int) -> None:
        end = start + len(block)
        here: NDArray[np.bool_] = (self._begin < end) & (self._end > start)
        for i in cast("list[int]", np.flatnonzero(here).tolist()):
            begin, finish = int(self._begin[i]), int(self._end[i])
            low, high = max(begin, start), min(finish, end)
            at = self._at[i] + low - begin
            self._result[at : at + high - low] = block[low - start : high - start]


def _extended(wave: NDArray[np.float32], half: int, samples: int) -> NDArray[np.float32]:
    result = np.zeros(samples, np.float32)
    mirrored = np.pad(wave, (0, half), mode="reflect")
    result[: len(mirrored)] = mirrored
    return result
