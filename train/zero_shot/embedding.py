"""Recordings, texts and labels to unit vectors by a model in PyTorch, as deployment makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from clap_export.model.clap import ClapModel, normalise
from runtime.clips import grouping, windows
from runtime.clips.pooling import mean_embedding
from runtime.prompts import fill_all
from train.data.texts import encode
from train.machine.device import send
from train.machine.progress import track

# Given to the model at once, without gradients.
WINDOWS = 64
TEXTS = 128
# Fewer batches of texts than this are over before a progress bar can be read.
SHOWN_FROM = 20


@torch.no_grad()
def embed_clips(model: ClapModel, clips: Iterable[np.ndarray]) -> Tensor:
    """The mean of each clip's window embeddings, renormalised: what the runtime's Encoder gives.

    Args:
        model: in ``eval()``.
        clips: at least one; float32 ``[n]`` each, n >= 1, at the model's rate. Taken as they are
            needed, so that threads can decode the next ones.

    Returns:
        float32 ``[clips, dim]`` unit vectors, on the model's device.
    """
    heard = (windows.rows(clip, model.config.audio) for clip in clips)
    return torch.cat([_embed_group(model, group) for group in grouping.groups(heard, WINDOWS)])


def _embed_group(model: ClapModel, group: list[np.ndarray]) -> Tensor:
    """Clips as rows of samples to ``[clips, dim]``: windows of several clips share a batch."""
    batches = group  # with feature fusion a row is a whole clip, and rows differ in length
    if model.config.audio.long_clips == "windows":
        together = np.concatenate(group)
        batches = [together[i : i + WINDOWS] for i in range(0, len(together), WINDOWS)]
    device = model.logit_scale.device
    rows = torch.cat([model.embed_audio(send(batch, device)) for batch in batches])
    each = rows.split([len(clip) for clip in group])
    return normalise(torch.stack([part.double().mean(dim=0) for part in each]))


@torch.no_grad()
def embed_texts(model: ClapModel, tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """``[texts, dim]`` float32 unit vectors of any number of texts, on the model's device.

    Args:
        model: in ``eval()``.
        tokenizer: the model's; truncation and padding are set on it.
        texts: at least one.
    """
    order = by_length(texts, np.arange(len(texts)))
    starts = range(0, len(texts), TEXTS)
    shown = track(starts, "embedding texts") if len(starts) > SHOWN_FROM else starts
    parts = [embed_batch(model, tokenizer, pick(texts, order[i : i + TEXTS])) for i in shown]
    return torch.cat(parts)[torch.from_numpy(np.argsort(order))]


def embed_batch(model: ClapModel, tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """``[texts, dim]`` of one batch, with gradients where they are wanted."""
    device = model.logit_scale.device
    ids = encode(tokenizer, texts, model.config.text_encoder)
    return model.embed_text(**{name: send(values, device) for name, values in ids.items()})


def embed_labels(
    embed: Callable[[Sequence[str]], np.ndarray], labels: Sequence[str], templates: Sequence[str]
) -> np.ndarray:
    """``[labels, dim]``: the mean over every prompt of a label, renormalised.

    Args:
        embed: texts to unit vectors ``[texts, dim]``.
        labels: at least one.
        templates: with one ``{}`` each, at least one.
    """
    found = embed([text for label in labels for text in fill_all(templates, label)])
    return np.stack([mean_embedding(rows) for rows in np.split(found, len(labels))])


def pick(texts: Sequence[str], indices: np.ndarray) -> list[str]:
    """Some of the texts."""
    return [texts[int(i)] for i in indices]


def by_length(texts: Sequence[str], indices: np.ndarray) -> np.ndarray:
    """Indices of texts, the short ones first: a batch of texts of one length has no padding."""
    return indices[np.argsort([len(text) for text in pick(texts, indices)], kind="stable")]
