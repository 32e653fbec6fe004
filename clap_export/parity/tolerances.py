"""How far a precision may move an embedding: the one table of it, for every gate."""

from __future__ import annotations

from runtime.manifest import Precision

# Cosines to FP32, or to the checkpoint, that each precision must keep.
COSINE: dict[Precision, float] = {
    "fp32": 0.99999, "fp16": 0.999, "bf16": 0.999, "int8": 0.99, "int8+bf16": 0.99,
}  # fmt: skip
# The frontend is in FP32 always. Float32 rounds a bin by up to 4e-7 of a clip's loudest one, in
# any order of operations, which is 0.04 dB at 80 dB below it.
MEL, DECIBELS = "log-mel, bins within 80 dB of the peak", 0.05


def distance(precision: Precision) -> float:
    """The most that 1 - cosine may be; rounded, since 1 - 0.99 is not 0.01 in binary."""
    return round(1 - COSINE[precision], 8)
