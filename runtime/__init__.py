"""Light, torch-free inference with CLAP bundles.

The names below are loaded when first used, so that ``import runtime`` costs nothing; ONNX Runtime,
tokenizers, soundfile and soxr are imported only by the call that needs them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.audio import Recording
    from runtime.bundle import Bundle
    from runtime.classifier import Classifier, Result, Segment
    from runtime.encoder import Encoder
    from runtime.errors import AudioWarning, ClapError
    from runtime.labels import LabelBank
    from runtime.library.library import Hit, Library
    from runtime.listening.events import Event, Events, Rule
    from runtime.listening.listener import Listener
    from runtime.scores import Prediction
    from runtime.tagger import Tagger

__version__ = "0.1.0"

__all__ = [
    "AudioWarning",
    "Bundle",
    "ClapError",
    "Classifier",
    "Encoder",
    "Event",
    "Events",
    "Hit",
    "LabelBank",
    "Library",
    "Listener",
    "Prediction",
    "Recording",
    "Result",
    "Rule",
    "Segment",
    "Tagger",
    "__version__",
]

_HOME = {
    "AudioWarning": "runtime.errors",
    "Bundle": "runtime.bundle",
    "Classifier": "runtime.classifier",
    "ClapError": "runtime.errors",
    "Encoder": "runtime.encoder",
    "Event": "runtime.listening.events",
    "Events": "runtime.listening.events",
    "Hit": "runtime.library.library",
    "LabelBank": "runtime.labels",
    "Library": "runtime.library.library",
    "Listener": "runtime.listening.listener",
    "Prediction": "runtime.scores",
    "Recording": "runtime.audio",
    "Result": "runtime.classifier",
    "Rule": "runtime.listening.events",
    "Segment": "runtime.classifier",
    "Tagger": "runtime.tagger",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value  # the next look-up finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
