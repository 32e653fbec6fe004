"""A classifier from one file, which ``clap-export freeze`` makes of a bundle and labels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from runtime.backends import TENSORRT
from runtime.classifier import Classifier
from runtime.clips.policy import Policy
from runtime.encoder import Encoder
from runtime.tagger_file import TaggerFile


class Tagger(Classifier):
    """Scores recordings against the labels in its file: a :class:`Classifier` of these labels in
    all that it does. The kind of scores is the file's too.

    It needs no text encoder and no tokenizer, and no other file.

    Args:
        path: of the file.
        threshold: predictions with a lower score are dropped.
        min_similarity: predictions with a lower cosine are dropped.
        top_k: most predictions returned; default the file's, if it has one.
        providers: ``cpu``, ``cuda``, ``tensorrt`` or ``openvino``; see :class:`Classifier`. Default
            ``tensorrt`` where an engine was built from the file, else ``cpu``.
        threads: of the CPU inside one run.
        batch_size: windows given to the engine at once; default 16, and on a CPU 4.
        max_seconds: longer recordings are refused; default any length is taken.
        device: number of the GPU, for ``cuda`` and ``tensorrt``; default the first.
        windows: which windows of a recording are heard and how they are pooled; default what the
            bundle said when the tagger was made.

    Raises:
        BundleError, SchemaError, LabelError: the file is missing, or no tagger that can be used.
        BackendError: the provider is not available.
        ClapError: another argument is out of range.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        threshold: float | None = None,
        min_similarity: float | None = None,
        top_k: int | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        batch_size: int | None = None,
        max_seconds: float | None = None,
        device: int | None = None,
        windows: Policy | str | None = None,
    ) -> None:
        options = {
            "providers": providers, "threads": threads, "batch_size": batch_size,
            "max_seconds": max_seconds, "device": device, "windows": windows,
        }  # fmt: skip
        given: dict[str, Any] = {k: value for k, value in options.items() if value is not None}
        ranked: dict[str, Any] = {
            "threshold": threshold, "min_similarity": min_similarity, "top_k": top_k,
        }  # fmt: skip
        self._again = partial(type(self), path, **ranked, **given)
        # An engine that was left behind by another tagger is in nobody's way who wants none.
        file = TaggerFile(path, engine=providers is None or TENSORRT in providers)
        if top_k is None:
            ranked["top_k"] = file.frozen.top_k
        super().__init__(Encoder(file, **given), file.bank, scores=file.frozen.scores, **ranked)

    def __reduce__(self) -> tuple[object, ...]:
        return self._again, ()
