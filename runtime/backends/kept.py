"""A graph as ONNX Runtime has optimised it, kept for the next start; see :mod:`runtime.cache`.

To read a graph, to optimise it, and to copy its weights and arrange them for the CPU takes most of
a start. What comes of it is kept in ONNX's own form, the weights beside it as the CPU wants them:
they are mapped, not read, and processes share their memory. It fits one version of ONNX Runtime on
one kind of CPU, which are therefore part of the key.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import platform
from dataclasses import dataclass
from pathlib import Path

from runtime.backends import quiet
from runtime.backends.ort import OrtBackend
from runtime.cache import Cache, NotKept
from runtime.content import Content
from runtime.errors import BackendError

PROVIDERS = ("cpu",)  # the only ones whose graphs are kept
KIND, GRAPH = "graph", "graph.onnx"
CPUINFO = Path("/proc/cpuinfo")
TRAITS = ("flags", "Features", "model name", "CPU part")  # lines of it that are the CPU's kind

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """Where one graph is kept.

    Attributes:
        cache: the folder.
        source: hashes of all that decides what the graph is and whether it may be used.
    """

    cache: Cache
    source: dict[str, object]

    def open(self, threads: int | None) -> OrtBackend | None:
        """The engine from what was kept; None where nothing was, or nothing that can be used.

        Args:
            threads: inside one run, or None for the engine's choice.

        Raises:
            BackendError: ONNX Runtime is not installed.
        """
        folder = self.cache.find(KIND, self._key)
        if folder is None:
            return None
        try:
            return OrtBackend(folder / GRAPH, PROVIDERS, threads, optimised=True)
        except BackendError as error:
            log.warning("what was kept is not used: %s", error)
            return None

    def make(self, content: Content, threads: int | None) -> OrtBackend:
        """The engine from its graph, and keep what it has made of it.

        Args:
            content: the graph, whose hash was compared.
            threads: inside one run, or None for the engine's choice.

        Raises:
            BackendError: the graph cannot be loaded.
        """
        made: list[OrtBackend] = []

        def fill(folder: Path) -> None:
            try:
                made.append(OrtBackend(content, PROVIDERS, threads, save=folder / GRAPH))
            except BackendError as error:  # no room on the disk, or really the graph
                raise NotKept from error

        self.cache.keep(KIND, self._key, fill)
        return made[0] if made else OrtBackend(content, PROVIDERS, threads)

    @property
    def _key(self) -> dict[str, object]:
        ort = quiet.onnxruntime()
        build = ort.get_build_info() if hasattr(ort, "get_build_info") else ""
        return {**self.source, "engine": [ort.__version__, build], "cpu": _cpu()}


def _cpu() -> str:
    """Hash of what this CPU can do: graphs are optimised for it."""
    found = [platform.machine()]
    with contextlib.suppress(OSError):
        lines = CPUINFO.read_text(errors="replace").split("\n\n")[0].splitlines()
        found += [line for line in lines if line.startswith(TRAITS)]
    return hashlib.sha256("\n".join(found).encode()).hexdigest()
