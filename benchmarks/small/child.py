"""One device, one process: start, hear a recording, then hear windows; prints JSON.

    python benchmarks/small/child.py FORM SOURCE LABELS RECORDING PROVIDER STARTED SECONDS

FORM is ``bundle`` or ``tagger``, LABELS a file of names or a bank (unused by a tagger), STARTED the
parent's monotonic clock before it started this, SECONDS how long windows are heard for; 0 for none.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

from runtime import Classifier, Tagger


def peak_mib() -> float:
    """Most memory that this process held, by the kernel's account."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def main(
    form: str, source: str, labels: str, recording: str, provider: str, started: str, seconds: str
) -> None:
    """Measure and print."""
    options = {"threads": 1, "providers": [provider]}
    opened = (
        Tagger(source, **options) if form == "tagger" else Classifier(source, labels, **options)
    )
    with opened as classifier:
        best = classifier.predict(recording)[0].label
        first = time.monotonic() - float(started)
        audio = classifier.encoder.manifest.audio
        rng = np.random.default_rng(0)
        window = (0.1 * rng.standard_normal(audio.window_samples)).astype(np.float32)
        times: list[float] = []
        end = time.perf_counter() + float(seconds)
        while (start := time.perf_counter()) < end:
            classifier.predict(window, audio.sample_rate)
            times.append(time.perf_counter() - start)
    print(json.dumps({
        "best": best,
        "first_result_s": round(first, 3),
        "window_s": audio.window_samples / audio.sample_rate,
        "windows": len(times),
        "window_ms": round(1000 * median(times), 2) if times else None,
        "peak_mib": round(peak_mib(), 1),
    }))  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
