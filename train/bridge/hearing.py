"""A tagger's answers to the clips of listings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from clap_export.model.clap import ClapModel
from runtime.clips import windows
from train.bridge.lesson import Heard
from train.data.clips import ClipStore
from train.data.listing import Clip
from train.machine.device import channels_last
from train.machine.progress import track

_WINDOWS = 32  # heard at once


@torch.no_grad()
def hear(model: ClapModel, clips: Sequence[Clip], threads: int | None) -> tuple[Heard, list[Clip]]:
    """What a bridge's tagger makes of clips, and the clips that could be read.

    Args:
        model: a bridge in evaluation mode.
        clips: of listings.
        threads: that decode.

    Raises:
        ClapError: too many of them cannot be read.
    """
    bridge, spec = model.bridge, model.config.audio
    assert bridge is not None
    channels_last(model.audio_encoder)
    store = ClipStore(clips, spec, threads)
    probabilities: list[Tensor] = []
    features: list[Tensor] = []
    rows: list[np.ndarray] = []
    counts: list[int] = []

    def flush() -> None:
        log_mel = model.mel(torch.from_numpy(np.concatenate(rows)))
        vector, tagged = model.audio_encoder.tagged(log_mel)
        for found, into in (
            (bridge.probabilities(tagged), probabilities), (bridge.features(vector), features)
        ):  # fmt: skip
            into.extend(part.mean(dim=0) for part in found.split(counts))
        rows.clear()
        counts.clear()

    for index in track(range(len(store.clips)), "hearing clips"):
        cut = windows.rows(store.waveform(index), spec)
        rows.append(cut)
        counts.append(len(cut))
        if sum(counts) >= _WINDOWS:
            flush()
    if rows:
        flush()
    labels = tuple(clip.label.replace("_", " ") for clip in store.clips)
    return Heard(torch.stack(probabilities), torch.stack(features), labels), list(store.clips)
