"""What a bundle of lower precision must keep of the one in FP32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from clap_export.metrics import tolerance_bound
from clap_export.parity.accuracy import Labelled, Scored, agreement, evaluate
from clap_export.parity.inner import decibels_apart
from clap_export.parity.phrases import PHRASES
from clap_export.parity.tolerances import DECIBELS, MEL, distance
from runtime import Encoder
from runtime.clips.pooling import mean_embedding
from runtime.manifest import Check, Parity, Precision

# What a precision may lose in accuracy on a listing, and to how many of its recordings it must give
# the same best label.
LOST, AGREEMENT = 0.005, 0.99
# Float32 rounds a cosine by about as much: smaller distances are all alike.
ROUNDING = 3e-7
# Whose steps fit the recordings that they were chosen by, and maybe no others.
CALIBRATED: tuple[Precision, ...] = ("int8", "int8+bf16")
THINGS = slice(None, None, 2)  # of the phrases: each thing in one wording


@dataclass(frozen=True)
class Numbers:
    """What a bundle gives for the gates' recordings and texts.

    Attributes:
        audio: embeddings ``[clips, dim]``.
        text: embeddings ``[texts, dim]``; None of a bundle without a text encoder.
        run: on the listing, or None without one.
        provider: what ran it.
        mel: spectrograms of some windows, where they are a gate: where the engine is told to
            compute a part of the graph in other types than its file has.
    """

    audio: np.ndarray
    text: np.ndarray | None
    run: Scored | None
    provider: str
    mel: Sequence[np.ndarray] = ()

    @classmethod
    def of(
        cls,
        encoder: Encoder,
        clips: Sequence[np.ndarray],
        listing: Sequence[Labelled],
        progress: Callable[[str], None],
    ) -> Numbers:
        """Embed clips, given as :meth:`Encoder.windows_of` gives them, texts, and a listing."""
        precision = encoder.manifest.audio_graph.precision
        progress(f"gates: {precision}")
        audio = np.stack([mean_embedding(rows) for rows in encoder.embed_clips(clips)])
        run = None
        if listing:
            run = evaluate(encoder, listing, (), lambda s: progress(f"gates: {precision}, {s}"))
        text = None if encoder.manifest.text is None else encoder.embed_text(PHRASES)
        return cls(audio, text, run, encoder.open_audio().provider)

    def against(self, wanted: Numbers, precision: Precision) -> Parity:
        """The gates of a precision, ``wanted`` being FP32's numbers.

        The worst clip and the worst text must be near FP32's. In INT8 that is not enough: its steps
        fit the recordings that they were calibrated on, and a few others that pass are a small
        sample. The bound of :func:`clap_export.metrics.tolerance_bound` must pass too: it widens
        with the spread of the sample, and as the sample shrinks. FP16 and bfloat16 round alike
        everywhere.
        The best phrase of each clip is reported without a limit: near ties turn with any rounding.
        """
        limit = distance(precision)
        audio = _apart(self.audio, wanted.audio)
        checks = [_at_most("audio embedding, 1 - cosine to FP32", audio.max(), limit)]
        if precision in CALIBRATED:
            bound = tolerance_bound(np.maximum(audio, ROUNDING))
            name = f"the same of 95 % of all clips, by {len(audio)} with 95 % confidence"
            checks.append(_at_most(name, bound, limit))
        if self.text is not None and wanted.text is not None:
            worst = _apart(self.text, wanted.text).max()
            checks.append(_at_most("text embedding, 1 - cosine to FP32", worst, limit))
            if precision in CALIBRATED:
                best = (self.audio @ self.text[THINGS].T).argmax(axis=1)
                right = (wanted.audio @ wanted.text[THINGS].T).argmax(axis=1)
                name = f"{len(audio)} clips, other best phrase than FP32"
                checks.append(_at_most(name, np.mean(best != right), 1.0, "share"))
        if self.run is not None and wanted.run is not None:
            lost = wanted.run.accuracy.top1 - self.run.accuracy.top1
            checks.append(_at_most("listing, top-1 accuracy lost to FP32", lost, LOST, "share"))
            other = 1 - agreement(self.run, wanted.run)
            limit = 1 - AGREEMENT
            checks.append(_at_most("listing, other top-1 label than FP32", other, limit, "share"))
        if self.mel and wanted.mel:
            apart = max(map(decibels_apart, self.mel, wanted.mel))
            checks.append(_at_most(MEL, apart, DECIBELS, "dB"))
        return Parity(all(check.passed for check in checks), self.provider, tuple(checks))


def _apart(mine: np.ndarray, other: np.ndarray) -> np.ndarray:
    """1 - cosine, row by row."""
    return 1 - (mine.astype(np.float64) * other).sum(axis=1)


def _at_most(name: str, value: float | np.floating, limit: float, unit: str = "") -> Check:
    value = float(value) if np.isfinite(value) else 2.0  # JSON has no infinity; cosines end at -1
    return Check(name, value, round(limit, 8), unit, bool(value <= limit + 1e-9))
