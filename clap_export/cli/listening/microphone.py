"""A microphone, through the package sounddevice (PortAudio)."""

from __future__ import annotations

import queue
from collections.abc import Generator
from typing import Any

import numpy as np

from runtime.arguments import shown
from runtime.audio.rates import check_rate
from runtime.errors import AudioError
from runtime.listening.backlog import Piece

BLOCK_SECONDS = 0.05
PATIENCE = 5.0  # seconds without samples, after which the device counts as gone
OVERRUN = 0.02  # seconds between two blocks that are a gap, and no jitter


class Microphone:
    """A device; see :class:`clap_export.cli.listening.inputs.Input`.

    Args:
        name: a part of it, or the device's number; empty for the system's default.
        rate: in Hz; default the device's own.
        channels: default 1.
        patience: seconds without samples, after which it counts as gone.

    Raises:
        AudioError: sounddevice is not installed, or there is no such device.
    """

    live, backlog = True, 10.0
    warning: str | None = None

    def __init__(
        self, name: str, rate: int | None, channels: int | None, patience: float = PATIENCE
    ) -> None:
        self._sd = _sounddevice()
        self._name, self._patience = name or "the default microphone", patience
        self._device = int(name) if name.isdecimal() else (name or None)
        try:
            found = self._sd.query_devices(self._device, "input")
        except Exception as error:  # ValueError or PortAudioError, by what is wrong
            raise AudioError(
                f"there is no microphone {shown(name)} ({error}). `python -m sounddevice` lists "
                "them."
            ) from error
        self._rate = check_rate(rate or int(found["default_samplerate"]), self._name)
        self._channels = channels or 1
        self._waiting: queue.SimpleQueue[tuple[np.ndarray, float] | None] = queue.SimpleQueue()

    def pieces(self) -> Generator[Piece]:
        """What it hears, block by block."""

        def receive(samples: np.ndarray, frames: int, time: Any, status: object) -> None:
            self._waiting.put((samples.T.copy(), float(time.inputBufferAdcTime)))

        expected = 0.0  # when the next block begins, by the device's clock
        try:
            stream = self._sd.InputStream(
                samplerate=self._rate, blocksize=round(BLOCK_SECONDS * self._rate),
                device=self._device, channels=self._channels, dtype="float32", callback=receive,
            )  # fmt: skip
            with stream:
                while True:
                    try:
                        block = self._waiting.get(timeout=self._patience)
                    except queue.Empty:
                        raise AudioError(
                            f"{self._name} gives no more samples: it may have been unplugged."
                        ) from None
                    if block is None:
                        return
                    samples, start = block
                    late = start - expected
                    yield Piece(samples, self._rate, late if expected and late > OVERRUN else 0.0)
                    # Not every system tells the time.
                    expected = start + samples.shape[1] / self._rate if start else 0.0
        except self._sd.PortAudioError as error:
            raise AudioError(f"{self._name} cannot be listened to ({error}).") from error

    def stop(self) -> bool:
        """Ends it at once."""
        self._waiting.put(None)
        return True


def _sounddevice() -> Any:
    try:
        import sounddevice  # pyright: ignore[reportMissingImports]
    except Exception as error:  # OSError where PortAudio itself is not there
        raise AudioError(
            f"a microphone needs sounddevice and PortAudio, which cannot be used ({error}). "
            "Install them: pip install 'clap-export[mic]', and on Linux the system's libportaudio2."
        ) from error
    return sounddevice
