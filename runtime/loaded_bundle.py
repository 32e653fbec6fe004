"""A bundle whose graphs are loaded when they are first used, until it is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from runtime.backends import Backend
from runtime.cores import usable_cores
from runtime.loaded import Loaded
from runtime.manifest import Manifest

if TYPE_CHECKING:
    from runtime.cache import Cache
    from runtime.tokenizer import TextTokenizer

Own = TypeVar("Own", bound="LoadedBundle")


class LoadedBundle:
    """What is known of a bundle, and its engines. Threads may share it, and any of them may close
    it.

    Args:
        loaded: the engines.
    """

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self._loaded.bundle.manifest

    @property
    def has_text(self) -> bool:
        """Whether texts can be embedded; without, labels come as saved banks."""
        return self._loaded.bundle.has_text

    @property
    def manifest_bytes(self) -> bytes:
        """The manifest's file."""
        return self._loaded.bundle.manifest_bytes

    @property
    def cache(self) -> Cache | None:
        """Where what is slow to derive from the bundle is kept, or None."""
        return self._loaded.cache

    @property
    def many_at_once(self) -> int:
        """How many recordings are best embedded at a time, each by a run of one thread.

        Above 1 on ONNX Runtime's CPU, when ``threads`` was not given: a run on all cores spends
        much of its time in steps that do not divide. On OpenVINO, which divides more of them, only
        where a window takes long, which is measured once.

        Raises:
            BackendError: the provider is not available.
        """
        return usable_cores() if self._loaded.one_thread_each() else 1

    def open_audio(self) -> Backend:
        """Load the audio encoder, or return it when it is loaded.

        Raises:
            BackendError: the provider is not available, or the graph cannot be loaded.
            BundleError: its file was altered, or is no audio graph.
        """
        return self._loaded.audio.get()

    @property
    def tokenizer(self) -> TextTokenizer:
        """The text encoder's tokenizer; both are loaded if they are not yet."""
        return self._loaded.text.get()[1]

    def close_text(self) -> None:
        """Release the text encoder; it is loaded again when needed."""
        self._loaded.text.close()

    def close(self) -> None:
        """Release the encoders; they are loaded again when needed.

        Other threads may be using them: these finish with what they have, and the memory is free
        when the last of them is done.
        """
        self._loaded.close()

    def __enter__(self: Own) -> Own:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
