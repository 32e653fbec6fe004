"""Say what happens in a stream while it happens: raw samples (mono, 16 bit) on standard input.

arecord -q -f S16_LE -r 48000 -c 1 -t raw | python examples/listen.py BUNDLE 48000 dog rain siren
"""

from __future__ import annotations

import sys

import numpy as np

import runtime


def main(bundle: str, rate: str, *labels: str) -> None:
    """Print each event when it is over."""
    with runtime.Classifier(bundle, list(labels)) as classifier:
        listener = runtime.Listener(classifier, int(rate), hop=0.5, gate=-60.0)
        events = runtime.Events(runtime.Rule(on=0.5, off=0.3, minimum=0.5, gap=1.0), smooth=3)

        def tell(segments: list[runtime.Segment], *, last: bool = False) -> None:
            found = [event for segment in segments for event in events.push(segment)]
            for event in found + (events.finish() if last else []):
                if event.phase == "ended":
                    said = f"{event.start:9.1f} s - {event.end:9.1f} s  {event.label}"
                    print(f"{said} ({event.peak:.2f})", flush=True)

        while data := sys.stdin.buffer.read(2 * int(rate) // 10):
            tell(listener.feed(np.frombuffer(data[: len(data) // 2 * 2], np.int16)))
        tell(listener.flush(), last=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
