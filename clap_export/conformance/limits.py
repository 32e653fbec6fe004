"""How far answers may be from this runtime's, which depends on the precision of the graphs.

Measured with clap-mini in FP32: ONNX Runtime and OpenVINO agree to 4e-14 in 1 - cosine; and through
another windowed sinc than soxr's to 8e-8, with sounds that have much at the highest frequencies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from clap_export.conformance.kit import Tolerance, absolute
from runtime.head import Head
from runtime.manifest import Manifest

# 1 - cosine of embeddings, of recordings at the model's rate and of texts, by precision.
OF_ENGINE = {"fp32": 1e-8, "fp16": 1e-4, "bf16": 1e-3, "int8": 2e-3, "int8+bf16": 5e-3}
OF_RESAMPLER = 1e-6  # the same, of recordings at another rate
# Resampled samples, as relative RMS: of sounds whose spectrum ends below 0.9 of the lower Nyquist
# frequency; of white noise, of which each filter cuts the part near that its own way; and of a few
# samples, which have frequencies of all heights. Another windowed sinc needs a third of the first,
# a tenth of the others; straight lines from sample to sample, five times as much and more.
QUIET, NOISE, SHORTEST = 2e-4, 0.05, 0.1
SAMPLES = 2.5e-7  # of decoded samples: two steps of float32 at full scale
SECONDS = 1e-6


@dataclass(frozen=True)
class Limits:
    """The limits of a bundle.

    Attributes:
        manifest: of the bundle.
    """

    manifest: Manifest

    def text(self) -> float:
        """1 - cosine of texts' embeddings."""
        graph = self.manifest.text_graph
        return OF_ENGINE["fp32" if graph is None else graph.precision]

    def audio(self, rate: int | None) -> float:
        """1 - cosine of recordings' embeddings.

        Args:
            rate: of the recording; None for any.
        """
        engine = OF_ENGINE[self.manifest.audio_graph.precision]
        return engine if rate == self.manifest.audio.sample_rate else max(engine, OF_RESAMPLER)

    def cosine(self, rate: int | None) -> float:
        """Of the cosine of a recording and a label: half the angle's way of both vectors."""
        return math.sqrt(2 * self.audio(rate)) + math.sqrt(2 * self.text())

    def score(self, mode: str | None, rate: int | None, head: Head | None = None) -> float:
        """Of a score, by its steepest slope over the cosine.

        Args:
            mode: that is asked for; None for the default.
            rate: of the recording; None for any.
            head: of the labels, if they are one: the score is then its own.
        """
        return min(0.5, max(1.0, self._slope(mode, head)) * self.cosine(rate))

    def ranked(
        self, mode: str | None, rate: int | None, head: Head | None = None
    ) -> dict[str, Tolerance]:
        """Of the outputs of ``classify`` and ``tagger``; see :meth:`score`."""
        return {
            "scores": absolute(self.score(mode, rate, head)),
            "similarities": absolute(self.cosine(rate)),
        }

    def _slope(self, mode: str | None, head: Head | None) -> float:
        if head is not None:
            return float(head.scales.max()) / (2 if head.about.scores == "softmax" else 4)
        if mode in (None, "softmax"):
            return self.manifest.logit_scale / 2
        calibration = self.manifest.calibration
        return 1.0 if mode == "cosine" or calibration is None else abs(calibration.scale) / 4
