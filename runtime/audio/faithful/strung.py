"""Channels one after the other, as msclap hears a stereo file: the left one, then the right one.

msclap 1.3.4 reshapes ``[channels, samples]`` to one row (``CLAPWrapper.load_audio_into_tensor``).
A window behind the middle of a stereo file is thus heard in its right channel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO

import numpy as np
from numpy.typing import NDArray

from runtime.errors import AudioError

IN_MEMORY = 64 << 20  # bytes of a channel; what is more waits on the disk
BLOCK = 1 << 20  # bytes that are read back at once


class LaterChannels:
    """Keeps all channels but the first until the first one is done.

    Args:
        name: of the recording, for sentences.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._kept: list[IO[bytes]] | None = None
        self._files = ExitStack()

    def keep(self, channels: NDArray[np.float32]) -> None:
        """Take the next samples float32 ``[channels, n]`` of all but the first channel.

        Raises:
            AudioError: the recording had another number of channels before, or the disk is full.
        """
        from tempfile import SpooledTemporaryFile  # it brings many others

        if self._kept is None:
            self._kept = [
                self._files.enter_context(
                    SpooledTemporaryFile(IN_MEMORY, prefix="clap-")  # noqa: SIM115 - by the stack
                )
                for _ in channels
            ]
        if len(self._kept) != len(channels):
            raise AudioError(
                f"{self._name} changes its number of channels: they cannot be heard one after the "
                "other. Choose other windows than the originals'."
            )
        try:
            for file, channel in zip(self._kept, channels, strict=True):
                file.write(np.ascontiguousarray(channel).tobytes())
        except OSError as error:
            from tempfile import gettempdir

            raise AudioError(
                f"the later channels of {self._name} need room in {gettempdir()} until "
                f"the first one is heard ({error.strerror}). Free some."
            ) from error

    def __iter__(self) -> Iterator[Iterator[NDArray[np.float32]]]:
        """Blocks float32 ``[n]`` of each channel, once."""
        for file in self._kept or ():
            file.seek(0)
            yield _blocks(file)

    def close(self) -> None:
        """Let go of what is kept."""
        self._files.close()


def _blocks(file: IO[bytes]) -> Iterator[NDArray[np.float32]]:
    while data := file.read(BLOCK):
        yield np.frombuffer(data, np.float32)
