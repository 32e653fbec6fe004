"""The one place where engines are imported that report to their makers: nothing leaves the machine.

onnxruntime, from 1.32 on, looks up a host of its maker's when it is imported, and keeps a device's
id and a queue of events in the user's cache folder. openvino starts a process that asks an
analytics service, and writes an id into the user's home.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from typing import Any

ORT_SWITCH = "ORT_DISABLE_TELEMETRY"  # onnxruntime's own; "0" in the environment keeps it on
OPENVINO_REPORTER = "openvino_telemetry"
_lock = threading.Lock()


def onnxruntime() -> Any:
    """ONNX Runtime, with its reports off.

    Raises:
        ImportError: it is not installed, or broken.
    """
    wanted = os.environ.setdefault(ORT_SWITCH, "1")
    module: Any = importlib.import_module("onnxruntime")
    if wanted != "0" and hasattr(module, "disable_telemetry_events"):
        module.disable_telemetry_events()  # in case it was imported before
    return module


def openvino() -> Any:
    """OpenVINO, with its reports off: it does without the package that sends them.

    Raises:
        ImportError: it is not installed, or broken.
    """
    with _lock:  # both encoders are opened at once
        before = sys.modules.get(OPENVINO_REPORTER)
        sys.modules[OPENVINO_REPORTER] = None  # type: ignore[assignment] # its import fails
        try:
            return importlib.import_module("openvino")
        finally:
            del sys.modules[OPENVINO_REPORTER]
            if before is not None:
                sys.modules[OPENVINO_REPORTER] = before
