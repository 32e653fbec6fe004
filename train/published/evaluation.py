"""A model on benchmarks: zero-shot, with a trained head, fine-tuned, or in retrieval."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from runtime.errors import ClapError
from train.published.dataset import Dataset
from train.published.encoders import BundleEmbedder, CheckpointEmbedder
from train.published.finetune import finetune_predict
from train.published.layout import Layout
from train.published.probe import Head, fit_predict
from train.published.score import Score, score
from train.published.task import PublishedTask, RetrievalTask, Setup
from train.zero_shot import retrieval
from train.zero_shot.embedding import embed_labels

log = logging.getLogger(__name__)


class Evaluation:
    """Runs benchmarks on one model; recordings that two benchmarks share are embedded once.

    Args:
        embedder: the model.
        setup: zero-shot, or what is trained.
        templates: prompts instead of the benchmarks' own; several are averaged.
        extension: of the audio files, where it is not the published one.
        seed: of whatever is trained.

    Raises:
        ClapError: fine-tuning of a bundle.
    """

    def __init__(
        self, embedder: CheckpointEmbedder | BundleEmbedder, *, setup: Setup = "zero-shot",
        templates: Sequence[str] = (), extension: str | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        if setup == "finetune" and isinstance(embedder, BundleEmbedder):
            raise ClapError("--supervised finetune trains the model: give its checkpoint.")
        self._embedder, self._templates = embedder, tuple(templates)
        self._setup: Setup = setup
        self._extension, self._seed = extension, seed
        self._embedded: tuple[tuple[Path, ...], np.ndarray] | None = None

    def run(self, task: PublishedTask | RetrievalTask, root: Path) -> list[Score]:
        """One score of a classification benchmark, two of a retrieval one.

        Args:
            task: of the catalogue.
            root: folder of its data set.

        Raises:
            ClapError: a folder that is not laid out as published, or recordings that cannot be
                used; retrieval with something to train.
        """
        log.info("%s: %s", task.title, root)
        layout = Layout(root, task.name, task.download, self._extension, task.partial)
        if isinstance(task, RetrievalTask):
            return self._retrieve(task, layout)
        dataset = task.read(layout, self._setup != "zero-shot")
        return [self._classify(task, dataset)]

    def _classify(self, task: PublishedTask, dataset: Dataset) -> Score:
        if self._setup != "zero-shot":
            return self._train(task, dataset)
        items = dataset.test_items()
        templates = self._templates or (task.template,)
        text = embed_labels(self._embedder.embed_text, dataset.labels, templates)
        audio = self._embed([item.path for item in items])
        truth = Dataset(dataset.labels, items, 0).truth()
        return score(task, "zero-shot", audio @ text.T, truth, dataset.absent)

    def _train(self, task: PublishedTask, dataset: Dataset) -> Score:
        """Each fold by a head that was trained on the others; all test clips are scored at once."""
        right, items = dataset.truth(), dataset.items
        splits = dataset.splits()
        paths = [item.path for item in items]
        head = Head(self._setup == "mlp", task.metric != "accuracy", self._seed)
        logits = np.zeros(right.shape, np.float32)
        for train, test in splits:
            if isinstance(self._embedder, CheckpointEmbedder) and self._setup == "finetune":
                logits[test] = finetune_predict(
                    self._embedder.model, [paths[i] for i in train], right[train],
                    [paths[i] for i in test], head,
                )  # fmt: skip
            else:
                audio = self._embed(paths)
                logits[test] = fit_predict(audio[train], right[train], audio[test], head)
        tested = np.sort(np.concatenate([test for _, test in splits]))
        return score(task, self._setup, logits[tested], right[tested], dataset.absent)

    def _retrieve(self, task: RetrievalTask, layout: Layout) -> list[Score]:
        if self._setup != "zero-shot":
            raise ClapError(f"task {task.name} has no classes to train a head on: no --supervised.")
        found = task.read(layout)
        audio = self._embed(found.paths)
        text = self._embedder.embed_text([caption for of in found.captions for caption in of])
        owner = np.repeat(np.arange(len(found.paths)), [len(of) for of in found.captions])
        directions = {
            "text->audio": (retrieval.text_to_audio(text, audio, owner), len(audio)),
            "audio->text": (retrieval.audio_to_text(text, audio, owner), len(text)),
        }
        return [
            Score(
                task.name, task.title, "retrieval", "zero-shot", f"{name} R@1", len(audio),
                task.clips, found.absent, candidates, measures["R@1"], None, None,
                {key: value for key, value in measures.items() if key != "R@1"}, None, None,
            )
            for name, (measures, candidates) in directions.items()
        ]  # fmt: skip

    def _embed(self, paths: Sequence[Path]) -> np.ndarray:
        key = tuple(paths)
        if self._embedded is None or self._embedded[0] != key:
            self._embedded = key, self._embedder.embed_audio(key)
        return self._embedded[1]
