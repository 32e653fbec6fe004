"""The runtime's encoder, whose two graphs are models of the same server.

Windows and texts go into Triton's queues, where they share batches with those of other requests and
other clients. All else is the runtime's own: rates, windows, policies, pooling, scores.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import triton_python_backend_utils as pb  # pyright: ignore[reportMissingImports]
from numpy.typing import NDArray

from runtime import Encoder
from runtime.audio_graph import AudioGraph
from runtime.bundle import Bundle
from runtime.clips import fusion
from runtime.errors import BackendError
from runtime.lease import Lease
from runtime.manifest import EMBEDDING, NORM, Manifest
from runtime.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from runtime.audio_graph import Embeddings
    from runtime.backends import Backend

AUDIO, TEXT = "audio", "text"  # names of the models
AHEAD = 4  # runs that may be under way: as many instances of the model are kept busy by one client


class RemoteGraph:
    """A model of the server as an engine of the runtime; see :class:`runtime.backends.Backend`.

    Args:
        model: its name.
        inputs: of it.
        outputs: of it that are wanted.
    """

    provider = "triton"
    takes_int16 = on_gpu = bfloat16 = False
    one_thread_each_from = math.inf

    def __init__(self, model: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        self._model, self.input_names, self.output_names = model, inputs, outputs
        self._threads = ThreadPoolExecutor(AHEAD, thread_name_prefix="clap-triton")

    def run(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run a batch; all outputs by name.

        Raises:
            BackendError: the model failed, or is not there.
        """
        request = pb.InferenceRequest(
            model_name=self._model,
            requested_output_names=list(self.output_names),
            inputs=[pb.Tensor(name, _with_axis(a)) for name, a in inputs.items()],
            # A model on a GPU leaves its outputs there unless it is asked.
            preferred_memory=pb.PreferredMemory(pb.TRITONSERVER_MEMORY_CPU, 0),
        )
        response = request.exec()
        if response.has_error():
            raise BackendError(f"the model '{self._model}' failed: {response.error().message()}")
        found = {t.name(): t.as_numpy() for t in response.output_tensors()}
        return {name: found[name] for name in self.output_names}

    def stream(self, feeds: Iterable[dict[str, NDArray[Any]]]) -> Iterator[dict[str, NDArray[Any]]]:
        """Run batches, several at a time; results in order."""
        running: deque[Future[dict[str, NDArray[Any]]]] = deque()
        for feed in feeds:
            running.append(self._threads.submit(self.run, feed))
            if len(running) == AHEAD:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(cancel_futures=True)


class RemoteEncoder(Encoder):
    """An encoder of a bundle of which only the manifest and the tokenizer are here.

    Args:
        bundle: of which they are.
        max_batch: rows that the two models take at once.
        windows: name of a policy, or None for the bundle's.
    """

    def __init__(self, bundle: Bundle, max_batch: int, windows: str | None) -> None:
        super().__init__(bundle, providers=("cpu",), batch_size=max_batch, windows=windows)
        self._text_graph = RemoteGraph(TEXT, ("text",), (EMBEDDING,))
        self._audio_graph: Backend = RemoteGraph(AUDIO, *audio_names(bundle.manifest))
        lease: Lease[Backend] = Lease(lambda: self._audio_graph, lambda graph: graph.close())
        longer = self.policy.quirks.always_longer
        self._audio = self._alone = AudioGraph(bundle.manifest, lease, longer)
        spec, _ = bundle.manifest.text_encoder
        self._tokenizer = TextTokenizer(bundle.read(spec.tokenizer), spec)

    def open_audio(self) -> Backend:
        """The model ``audio``."""
        return self._audio_graph

    @property
    def many_at_once(self) -> int:
        """Recordings share batches: how many runs are under way is the stream's."""
        return 1

    @property
    def tokenizer(self) -> TextTokenizer:
        """The bundle's, for what is said of labels; ``text`` has its own."""
        return self._tokenizer

    def embed_text(self, texts: str | Sequence[str]) -> Embeddings:
        """Embed texts by the model ``text``."""
        texts = [texts] if isinstance(texts, str) else list(texts)
        rows = np.array([[text.encode()] for text in texts], np.object_)
        size = self.text_batch_size
        feeds = ({"text": rows[i : i + size]} for i in range(0, len(rows), size))
        return np.concatenate([found[EMBEDDING] for found in self._text_graph.stream(feeds)])


def _with_axis(values: NDArray[Any]) -> NDArray[Any]:
    """One number a row gets the axis that Triton wants of a client."""
    return np.ascontiguousarray(values[:, np.newaxis] if values.ndim == 1 else values)


def audio_names(manifest: Manifest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Inputs and outputs of a bundle's audio graph."""
    inputs = fusion.INPUTS if manifest.audio.long_clips == "fusion" else ("waveform",)
    return inputs, (EMBEDDING, NORM) if manifest.gives_norm else (EMBEDDING,)
