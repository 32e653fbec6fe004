"""Teach a small text tower to give a larger sentence encoder's embeddings."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from clap_export.model.clap import ClapModel
from runtime.errors import ClapError
from train.config import TextConfig
from train.progress import track
from train.schedule import cosine_factor
from train.texts import encode

log = logging.getLogger(__name__)


def teacher_embeddings(teacher: str, texts: Sequence[str], cache: Path) -> np.ndarray:
    """Unit embeddings ``[texts, dim]`` float16 of the teacher, kept in ``cache`` between runs.

    The cache, an ``.npz``, also holds a hash of the teacher's name and the texts it is good for.

    Raises:
        ClapError: the teacher cannot be found, or sentence-transformers is not installed.
    """
    key = hashlib.sha256(json.dumps([teacher, *texts]).encode()).hexdigest()
    if cache.is_file():
        with np.load(cache, allow_pickle=False) as stored:
            if stored["key"] == key:
                return stored["embeddings"]
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ClapError(
            "text distillation needs sentence-transformers: pip install clap-export[train]."
        ) from error
    model = SentenceTransformer(_resolve(teacher), device="cpu")
    vectors = model.encode(
        list(texts), batch_size=256, normalize_embeddings=True, show_progress_bar=True
    )
    vectors = np.asarray(vectors, dtype=np.float16)
    part = cache.with_name(f"{cache.stem}.part.npz")
    np.savez(part, key=np.array(key), embeddings=vectors)
    part.replace(cache)
    return vectors


def _resolve(teacher: str) -> str:
    if not teacher.startswith("package:"):
        return teacher
    name, _, folder = teacher.removeprefix("package:").partition("/")
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ClapError(f"text.teacher: the Python package {name} is not installed.")
    return str(Path(spec.submodule_search_locations[0]) / folder)


def distil(
    model: ClapModel, tokenizer: Tokenizer, texts: Sequence[str], target: np.ndarray,
    config: TextConfig, device: torch.device,
) -> float:  # fmt: skip
    """Train the text side of ``model`` towards ``target``; returns held-out mean cosine.

    The loss is 1 - cosine, plus the squared difference of the batch's similarity matrices: the
    second term keeps the relations between texts, which is what labels are compared by.
    Every 50th text is held out.

    Raises:
        ClapError: the teacher's dimension is not the model's, or fewer texts than one batch.
    """
    if target.shape[1] != model.config.embedding_dim:
        raise ClapError(
            f"text.teacher gives {target.shape[1]} dimensions, model.embedding_dim is "
            f"{model.config.embedding_dim}; set it to {target.shape[1]}."
        )
    indices = np.arange(len(texts))
    held, used = indices[::50], np.delete(indices, indices[::50])
    if len(used) < config.batch_size:
        raise ClapError(
            f"text.batch_size is {config.batch_size}, but there are only {len(used)} texts to "
            "learn from; make it smaller, or add sources."
        )
    # Texts of like length together: less padding. Batches are shuffled, not texts.
    order = used[np.argsort([len(texts[int(i)]) for i in used], kind="stable")]
    parameters = [*model.text_encoder.parameters(), *model.text_projection.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=0.01)
    steps = len(order) // config.batch_size
    total, step, began = steps * config.epochs, 0, time.monotonic()
    for epoch in range(config.epochs):
        model.train()
        offset = torch.randint(config.batch_size, ()).item()
        losses = []
        for b in track(torch.randperm(steps).tolist(), f"text epoch {epoch + 1}/{config.epochs}"):
            rows = order[b * config.batch_size + offset : (b + 1) * config.batch_size + offset]
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * cosine_factor(step, total, total // 20)
            out = _embed(model, tokenizer, [texts[int(i)] for i in rows], device)
            want = torch.from_numpy(target[rows].astype(np.float32)).to(device)
            alike = (out @ out.T - want @ want.T).square().mean()
            loss = (1 - (out * want).sum(1)).mean() + 10 * alike
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            losses.append(loss.item())
            step += 1
        cosine = _held_out(model, tokenizer, texts, target, held, device)
        took = time.monotonic() - began
        log.info(
            "text epoch %d/%d: loss %.4f, held-out cosine %.4f, %.0f s",
            epoch + 1, config.epochs, float(np.mean(losses)), cosine, took,
        )  # fmt: skip
    return cosine


def _embed(
    model: ClapModel, tokenizer: Tokenizer, texts: list[str], device: torch.device
) -> torch.Tensor:
    batch = encode(tokenizer, texts, model.config.text_encoder)
    return model.embed_text(**{name: t.to(device) for name, t in batch.items()})


@torch.no_grad()
def _held_out(
    model: ClapModel, tokenizer: Tokenizer, texts: Sequence[str], target: np.ndarray,
    rows: np.ndarray, device: torch.device,
) -> float:  # fmt: skip
    model.eval()
    cosines = []
    for chunk in np.array_split(rows, max(1, len(rows) // 128)):
        out = _embed(model, tokenizer, [texts[int(i)] for i in chunk], device).cpu().numpy()
        cosines.append((out * target[chunk].astype(np.float32)).sum(1))
    return float(np.concatenate(cosines).mean())
