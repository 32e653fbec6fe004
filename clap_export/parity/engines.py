"""Which engine computes a bundle in its own precision."""

from __future__ import annotations

from runtime.backends import no_bfloat16
from runtime.manifest import Manifest


def providers_of(manifest: Manifest) -> tuple[str, ...] | None:
    """What a bundle is measured on: OpenVINO in bfloat16, where the bundle is in it and the CPU
    has it; else None, for what the bundle runs on by default."""
    if manifest.audio_graph.bfloat16 and not no_bfloat16():
        return ("openvino",)
    return None
