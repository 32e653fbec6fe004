"""A recording as a stream to a service of `clap-export serve`, as a microphone would send it.

pip install websockets soundfile
python examples/stream.py ws://127.0.0.1:8000/v1/listen street.wav --labels "dog barking,rain"
"""

from __future__ import annotations

import argparse
import json
import threading
from pathlib import Path

import soundfile
from websockets.sync.client import ClientConnection, connect


def main() -> None:
    """Print what the service tells, a JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address")
    parser.add_argument("file", type=Path)
    parser.add_argument("--labels", default="dog barking,rain,siren", help="names between commas")
    parser.add_argument("--hop", type=float, default=1.0, help="seconds between windows")
    given = parser.parse_args()
    first = {"labels": given.labels.split(","), "hop": given.hop}
    with connect(given.address) as stream:
        # Both ways at once: whoever does not read is made to wait.
        threading.Thread(target=send, args=(stream, given.file, first), daemon=True).start()
        for message in stream:
            print(message)


def send(stream: ClientConnection, file: Path, first: dict[str, object]) -> None:
    """Send a second of the recording in each message, which has 1 MiB at most."""
    with soundfile.SoundFile(file) as sound:
        rate = sound.samplerate
        stream.send(json.dumps({**first, "rate": rate, "channels": sound.channels}))
        for block in sound.blocks(rate, dtype="int16", always_2d=True):
            stream.send(block.tobytes())
    stream.send(json.dumps({"type": "end"}))


if __name__ == "__main__":
    main()
