"""Sentences to learn from: captions, class names in templates, and short spans of captions."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from clap_export.model.config import TextEncoderConfig
from runtime.errors import ClapError
from runtime.prompts import fill_all
from train.config.data import TextSource
from train.data.table import read_rows, texts_of


def collect(sources: Sequence[TextSource], templates: Sequence[str]) -> tuple[list[str], list[str]]:
    """Distinct captions and distinct label texts (bare and in every template), in order.

    Raises:
        ClapError: a file that cannot be read, or a column that is not there.
    """
    captions: dict[str, None] = {}
    labels: dict[str, None] = {}
    for source in sources:
        for number, row in read_rows(Path(source.path)):
            for column in source.columns:
                if column not in row:
                    raise ClapError(f"{source.path}, line {number}: no column {column}.")
                try:
                    found = texts_of(row[column])
                except ValueError as error:
                    raise ClapError(f"{source.path}, line {number}: {error}.") from error
                for text in found:
                    if not source.label:
                        captions[text] = None
                        continue
                    labels.update((made, None) for made in in_templates([text], templates))
    return list(captions), list(labels)


def in_templates(names: Iterable[str], templates: Sequence[str]) -> list[str]:
    """Each name bare (underscores as spaces), then in every template."""
    plain = [name.replace("_", " ") for name in names]
    return [text for name in plain for text in (name, *fill_all(templates, name))]


def spans(captions: Sequence[str], count: int, seed: int) -> list[str]:
    """``count`` runs of 1 to 4 words, each from a random caption: text of the length of a label.

    Raises:
        ClapError: there is no word in any caption.
    """
    if count and not any(re.search(r"[\w'-]", caption) for caption in captions):
        raise ClapError("text.spans: the sources have no captions to cut words from; set it to 0.")
    draw = random.Random(seed)
    found: list[str] = []
    while len(found) < count:
        words = re.findall(r"[\w'-]+", draw.choice(captions))
        if words:
            length = min(draw.randint(1, 4), len(words))
            start = draw.randint(0, len(words) - length)
            found.append(" ".join(words[start : start + length]).lower())
    return found


def encode(
    tokenizer: Tokenizer, texts: Sequence[str], config: TextEncoderConfig
) -> dict[str, Tensor]:
    """Ids and mask ``[batch, tokens]`` int64, padded to the longest text of the batch."""
    tokenizer.enable_truncation(config.max_tokens)
    tokenizer.enable_padding(pad_id=config.pad_id)
    encoded = tokenizer.encode_batch([text + config.suffix for text in texts])
    batch = {
        "input_ids": torch.tensor([e.ids for e in encoded]),
        "attention_mask": torch.tensor([e.attention_mask for e in encoded]),
    }
    if config.token_type_ids:
        batch["token_type_ids"] = torch.zeros_like(batch["input_ids"])
    return batch
