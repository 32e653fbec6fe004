"""What an audio graph takes: rate, window, fill, and the mel frontend inside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from runtime.schema import Within

# Bounds of what a manifest may say: far above what any model has, and far below what would ask for
# all memory of a machine.
MOST_RATE = 768_000  # Hz
MOST_OVERLAP = 64  # windows over one sample, by the manifest's hop
Count: TypeAlias = Annotated[int, Within(1, 1 << 16)]  # mel bins, dimensions, tokens
Rate: TypeAlias = Annotated[int, Within(1, MOST_RATE)]
Samples: TypeAlias = Annotated[int, Within(1, 1 << 24)]  # of a window: six minutes at 44.1 kHz
Hertz: TypeAlias = Annotated[float, Within(0, MOST_RATE)]

Fill = Literal["repeat", "repeatpad", "pad"]
LongClips = Literal["windows", "fusion"]


@dataclass(frozen=True)
class Mel:
    """The log-mel frontend that is fused into the audio graph (for information and for peers).

    Attributes:
        sample_rate: that the filterbank was computed for, in Hz. It need not be the input's: the
            2023 model of msclap was trained with a bank for 32 kHz on recordings at 44.1 kHz.
    """

    sample_rate: Rate
    n_fft: Count
    hop_length: Count
    n_mels: Count
    f_min: Hertz
    f_max: Hertz
    scale: Literal["slaney", "htk"]
    norm: Literal["slaney"] | None
    amin: Annotated[float, Within(0, 1)]


@dataclass(frozen=True)
class AudioSpec:
    """How waveforms are prepared for the audio graph.

    Attributes:
        sample_rate: of the graph's input, in Hz.
        window_samples: fixed length of the graph's input.
        hop_samples: default distance between the starts of a long clip's windows.
        fill: how a clip shorter than the window is extended: ``repeat`` (tiled, then cut),
            ``repeatpad`` (whole copies, then zeros) or ``pad`` (zeros).
        int16_round_trip: samples go through int16 first, as the family was trained.
        mel: the frontend inside the graph.
        long_clips: how a clip longer than the window is embedded: ``windows`` (the mean of its
            windows' embeddings) or ``fusion`` (at once; see :mod:`runtime.clips.fusion`).
    """

    sample_rate: Rate
    window_samples: Samples
    hop_samples: Samples
    fill: Fill
    int16_round_trip: bool
    mel: Mel
    long_clips: LongClips = "windows"

    def __post_init__(self) -> None:
        lengths = f"hop_samples={self.hop_samples}, window_samples={self.window_samples}"
        if self.sample_rate < 1 or not 1 <= self.hop_samples <= self.window_samples:
            raise ValueError(
                f"sample_rate={self.sample_rate}, {lengths}: all must be at least 1, and the hop "
                "at most the window"
            )
        if self.hop_samples * MOST_OVERLAP < self.window_samples:
            raise ValueError(f"{lengths}: the hop must be a {MOST_OVERLAP}th of the window or more")
