"""A bundle's graphs on the engines that run them, each opened when it is first needed."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from runtime import __version__
from runtime.agreement import check_shapes
from runtime.audio_graph import graph_inputs
from runtime.backends import TENSORRT, Backend, choose, open_backend, open_engine
from runtime.bundle import Bundle
from runtime.cache import Cache
from runtime.clips import fusion
from runtime.content import Content
from runtime.cores import usable_cores
from runtime.engines import Engine
from runtime.errors import BundleError
from runtime.lease import Lease
from runtime.manifest import NORM, Graph
from runtime.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from runtime.backends.kept import Kept

log = logging.getLogger(__name__)


class Loaded:
    """The engines of a bundle.

    Args:
        bundle: whose graphs they run.
        check_hashes: compare the SHA-256 of a file when it is loaded.
        providers: asked for, or None; see :func:`runtime.backends.choose`.
        threads: of the CPU inside one run, or None for the engine's choice.
        device: number of the GPU that was asked for, or None.
        whole_texts: texts are not cut to the manifest's number of tokens.
        usual: threads of one run after the other where none were asked for; None for the engine's
            choice.

    Attributes:
        providers: that were chosen.
        cache: where what is slow to derive is kept, or None. Only of a bundle whose hashes are
            compared: what is kept is known by them.
        audio: the audio graph, for one run after the other.
        single: the audio graph with one thread, for as many runs at a time as there are cores. The
            same as ``audio`` when ``threads`` were given.
        text: the text graph, and its tokenizer.

    Raises:
        BackendError: providers that do not fit the bundle or each other.
    """

    def __init__(
        self,
        bundle: Bundle,
        check_hashes: bool,
        providers: Sequence[str] | None,
        threads: int | None,
        device: int | None,
        whole_texts: bool = False,
        usual: int | None = None,
    ) -> None:
        self._whole_texts = whole_texts
        self.bundle, self.check_hashes = bundle, check_hashes
        self.threads, self.device = threads, device
        self.providers = choose(providers, bundle.manifest.engines, device, bundle.folder)
        compared = check_hashes or bundle.check_hashes
        self.cache = Cache.wanted() if compared and bundle.listed else None
        self._usual = usual if threads is None else threads
        self.audio: Lease[Backend] = Lease(lambda: self._open_audio(self._usual), _close)
        self.single = self.audio if threads is not None else Lease(self._open_single, _close)
        self.text: Lease[tuple[Backend, TextTokenizer]] = Lease(
            self._open_text, lambda text: text[0].close()
        )
        self._one_thread_each: bool | None = None  # known when the audio graph was open

    def one_thread_each(self) -> bool:
        """Whether many recordings are quickest with ``single``.

        Raises:
            BackendError: the provider is not available.
        """
        if self.threads is not None:
            return False
        if self._one_thread_each is None:
            with self.audio.use(lasting=False) as backend:
                least = backend.one_thread_each_from
                known = least in (0, math.inf)
                self._one_thread_each = least == 0 if known else self._seconds(backend) >= least
        return self._one_thread_each

    def _seconds(self, backend: Backend) -> float:
        """That a window takes, when it is not the first."""
        spec = self.bundle.manifest.audio
        inputs = graph_inputs(np.zeros((1, spec.window_samples), np.float32), spec)
        taken: list[float] = []
        for _ in range(4):
            start = time.perf_counter()
            backend.run(inputs)
            taken.append(time.perf_counter() - start)
        return min(taken)

    def close(self) -> None:
        """Release all of them, each when nobody uses it any more."""
        for lease in (self.text, self.audio, self.single):
            lease.close()

    def _open_audio(self, threads: int | None, lanes: int = 1) -> Backend:
        manifest = self.bundle.manifest
        backend = self._open(
            manifest.audio_graph, manifest.engines and manifest.engines.audio, threads, lanes=lanes
        )
        fused = manifest.audio.long_clips == "fusion"
        wanted = fusion.INPUTS if fused else ("waveform",)
        if backend.input_names != wanted:
            raise BundleError(
                f"'{manifest.audio_graph.file}' has inputs {backend.input_names}; "
                f"this audio graph must have {wanted}. Export the bundle again."
            )
        if manifest.gives_norm and NORM not in backend.output_names:
            raise BundleError(
                f"the audio graph has outputs {backend.output_names}; of format_version "
                f"{manifest.format_version} it must have '{NORM}' among them. Export the bundle "
                "again, and build its engines anew if it has any."
            )
        return backend

    def _open_single(self) -> Backend:
        # Two of them are in memory only if both have been of use.
        self.audio.close(only_unused=True)
        return self._open_audio(1, usable_cores())

    def _open_text(self) -> tuple[Backend, TextTokenizer]:
        manifest = self.bundle.manifest
        spec, graph = manifest.text_encoder
        tokenizer = TextTokenizer(self._read(spec.tokenizer), spec, self._whole_texts)
        backend = self._open(
            graph, manifest.engines and manifest.engines.text, self._usual, tokenizer.largest_id
        )
        if set(backend.input_names) != set(spec.inputs):
            raise BundleError(
                f"'{graph.file}' has inputs {backend.input_names}, the manifest says "
                f"{spec.inputs}. Export the bundle again."
            )
        return backend, tokenizer

    def _open(
        self,
        graph: Graph,
        engine: Engine | None,
        threads: int | None,
        largest_id: int = 0,
        lanes: int = 1,
    ) -> Backend:
        if engine is not None and self.providers == (TENSORRT,):
            backend = open_engine(self._read(engine.file), engine, self.device or 0)
        else:
            kept = self._kept(graph, largest_id)
            backend = kept and kept.open(threads)
            if backend is None:
                backend = self._open_graph(graph, kept, threads, largest_id, lanes)
        log.debug("opened %s on %s", graph.file, backend.provider)
        return backend

    def _open_graph(
        self,
        graph: Graph,
        kept: Kept | None,
        threads: int | None,
        largest_id: int,
        lanes: int,
    ) -> Backend:
        bundle, check = self.bundle, self.check_hashes
        if kept is not None:  # nothing is kept of a file before its hash was compared
            content, found = bundle.graph(graph, check_hash=check)
            check_shapes(bundle.manifest, graph, found, largest_id)
            return kept.make(content, threads)
        with ExitStack() as held:
            with bundle.graph_in_use(graph, check_hash=check) as (content, found):
                check_shapes(bundle.manifest, graph, found, largest_id)
                backend = open_backend(
                    content, self.providers, threads, self.device or 0, graph.bfloat16, lanes
                )
                held.callback(backend.close)  # where the hash differs
            held.pop_all()
        return backend

    def _kept(self, graph: Graph, largest_id: int) -> Kept | None:
        if self.cache is None:
            return None
        from runtime.backends import kept

        if self.providers != kept.PROVIDERS:
            return None
        bundle = self.bundle
        return kept.Kept(self.cache, {
            # The manifest says which hashes its files have, and whether the shapes fit it.
            "manifest": hashlib.sha256(bundle.manifest_bytes).hexdigest(),
            "graph": bundle.manifest.files[graph.file].sha256,
            "largest_id": largest_id,
            "runtime": __version__,
        })  # fmt: skip

    def _read(self, name: str) -> Content:
        return self.bundle.read(name, check_hash=self.check_hashes)


def _close(backend: Backend) -> None:
    backend.close()
