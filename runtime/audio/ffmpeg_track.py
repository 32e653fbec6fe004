"""A part of a file through the ``ffmpeg`` program."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import closing, contextmanager

import numpy as np
from numpy.typing import NDArray

from runtime.audio import spool
from runtime.audio.content import Content
from runtime.audio.ffmpeg import PATIENCE, Input, Sound
from runtime.audio.parts import Part

# Opens a descriptor's file anew, with a place of its own: the caller's is not moved.
STANDARD_INPUT = "/proc/self/fd/0"


class Track:
    """See :class:`runtime.audio.track.Track`.

    Args:
        content: of the file.
        part: of it.
        name: of the file, for sentences.
        patience: seconds without a sample, after which it is given up.
    """

    integers = False

    def __init__(self, content: Content, part: Part, name: str, patience: float = PATIENCE) -> None:
        self._content, self._part, self._name, self._patience = content, part, name, patience
        self.rate = 0
        self.stated: int | None = None
        self.trouble: str | None = None

    def blocks(self) -> Generator[NDArray[np.float32]]:
        """float32 ``[frames, channels]``, in order; only what is asked for is decoded.

        Raises:
            Undecodable: the program is not there, or can make nothing of it.
            AudioError: a rate or a number of channels that are not taken; or no room for a copy.
            OSError: the file cannot be read.
        """
        with _handed(self._content, self._part, self._name) as given:
            sound = Sound(given, self._name, self._patience)
            with closing(sound.blocks()) as blocks:
                for block in blocks:
                    self.rate, self.stated = sound.rate, sound.stated
                    yield block
        self.trouble = sound.trouble


@contextmanager
def _handed(content: Content, part: Part, name: str) -> Generator[Input]:
    """A part as the program can seek in it: the file itself, or a copy that nobody else sees."""
    by_descriptor = os.path.exists(os.path.dirname(STANDARD_INPUT))
    if part.whole(content):
        if by_descriptor and content.descriptor is not None:
            yield Input(f"file:{STANDARD_INPUT}", content.descriptor)
            return
        if content.path is not None:
            yield Input(f"file:{os.path.abspath(content.path)}")
            return
    with spool.copy(spool.pieces(content, part), name) as file:
        if by_descriptor:
            yield Input(f"file:{STANDARD_INPUT}", file.fileno())
        else:
            yield Input(f"file:{os.path.abspath(file.name)}")
