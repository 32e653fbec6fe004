"""The text stage of training: a small text tower learns a sentence encoder's embeddings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from clap_export.model.clap import ClapModel
from runtime.errors import ClapError
from train.config.teaching import TextConfig
from train.distil.cache import CacheKey, read, write
from train.distil.course import Course
from train.distil.text_lesson import Taught, TextLesson
from train.machine import package

log = logging.getLogger(__name__)


def teacher_embeddings(teacher: str, texts: Sequence[str], cache: Path) -> np.ndarray:
    """Unit embeddings ``[texts, dim]`` float16 of the teacher, kept in ``cache`` between runs.

    A cache of another teacher or of other texts is a run's own file, and is written anew.

    Raises:
        ClapError: the teacher cannot be found, or sentence-transformers is not installed.
    """
    key = CacheKey.of(teacher, texts)
    try:
        if (stored := read(cache, key)) is not None:
            return stored
    except ClapError as error:
        log.info("the teacher is asked again: %s", error)
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ClapError(
            "text distillation needs sentence-transformers: pip install clap-export[train]."
        ) from error
    source = str(package.find(teacher, "text.teacher"))
    try:
        model = SentenceTransformer(source, device="cpu")
    except Exception as error:  # many kinds: offline, absent, gated, damaged
        reason = (str(error).strip().split("\n")[0] or type(error).__name__).rstrip(".")
        raise ClapError(f"text.teacher {teacher} cannot be loaded ({reason}).") from error
    vectors = model.encode(
        list(texts), batch_size=256, normalize_embeddings=True, show_progress_bar=True
    )
    return write(cache, key, np.asarray(vectors))


def learn(
    model: ClapModel, tokenizer: Tokenizer, texts: Sequence[str], target: np.ndarray,
    config: TextConfig, device: torch.device,
) -> float:  # fmt: skip
    """Train the text side of ``model`` towards ``target``; returns held-out mean cosine.

    The order of batches comes from torch's generator, as the model's first weights did.

    Raises:
        ClapError: the teacher's dimension is not the model's, or fewer texts than one batch.
    """
    if target.shape[1] != model.config.embedding_dim:
        raise ClapError(
            f"text.teacher gives {target.shape[1]} dimensions, model.embedding_dim is "
            f"{model.config.embedding_dim}; set it to {target.shape[1]}."
        )
    seed = int(torch.randint(2**31, ()).item())
    lesson = TextLesson(model, tokenizer, Taught(texts, target), config, seed)
    course = Course(lesson, config, seed)
    cosine = float("nan")
    for epoch in range(config.epochs):
        found = course.run(epoch)
        cosine = found.cosine
        log.info(
            "text epoch %d/%d: loss %.4f, held-out cosine %.4f, %.0f s",
            found.epoch, config.epochs, found.loss, cosine, found.seconds,
        )  # fmt: skip
    return cosine
