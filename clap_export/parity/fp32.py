"""What a bundle of lower precision must keep of the one in FP32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from clap_export.parity.accuracy import Item, Run, agreement, evaluate
from clap_export.parity.phrases import PHRASES
from runtime import Encoder
from runtime.bundle import Check, Parity, Precision
from runtime.encoder import mean_embedding

# Cosines that each precision must keep to FP32; and on a listing, what it may lose in accuracy and
# to how many recordings it must give the same best label.
COSINE: dict[Precision, float] = {"fp32": 0.99999, "fp16": 0.999, "int8": 0.99}
LOST, AGREEMENT = 0.005, 0.99


@dataclass(frozen=True)
class Numbers:
    """What a bundle gives for the gates' recordings and texts.

    Attributes:
        audio: embeddings ``[clips, dim]``.
        text: embeddings ``[texts, dim]``.
        run: on the listing, or None without one.
        provider: what ran it.
    """

    audio: np.ndarray
    text: np.ndarray
    run: Run | None
    provider: str

    @classmethod
    def of(
        cls,
        encoder: Encoder,
        clips: Sequence[np.ndarray],
        listing: Sequence[Item],
        progress: Callable[[str], None],
    ) -> Numbers:
        """Embed clips, given as :meth:`Encoder.windows_of` gives them, texts, and a listing."""
        precision = encoder.manifest.audio_graph.precision
        progress(f"gates: {precision}")
        audio = np.stack([mean_embedding(rows) for rows in encoder.embed_clips(clips)])
        run = None
        if listing:
            run = evaluate(encoder, listing, (), lambda s: progress(f"gates: {precision}, {s}"))
        return cls(audio, encoder.embed_text(PHRASES), run, encoder.open_audio().provider)

    def against(self, wanted: Numbers, precision: Precision) -> Parity:
        """The gates of a precision, ``wanted`` being FP32's numbers."""
        cosines = {
            "audio": (self.audio * wanted.audio).sum(axis=1).min(),
            "text": (self.text * wanted.text).sum(axis=1).min(),
        }
        limit = 1 - COSINE[precision]
        checks = [
            _at_most(f"{side} embedding, 1 - cosine to FP32", 1 - float(value), limit)
            for side, value in cosines.items()
        ]
        if self.run is not None and wanted.run is not None:
            lost = wanted.run.accuracy.top1 - self.run.accuracy.top1
            checks.append(_at_most("listing, top-1 accuracy lost to FP32", lost, LOST, "share"))
            other = 1 - agreement(self.run, wanted.run)
            limit = 1 - AGREEMENT
            checks.append(_at_most("listing, other top-1 label than FP32", other, limit, "share"))
        return Parity(all(check.passed for check in checks), self.provider, tuple(checks))


def _at_most(name: str, value: float, limit: float, unit: str = "") -> Check:
    return Check(name, value, round(limit, 6), unit, bool(value <= limit + 1e-9))
