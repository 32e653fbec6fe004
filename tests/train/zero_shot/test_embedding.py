"""Embeddings made in PyTorch are the runtime's, whatever shares a batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from runtime import Encoder, LabelBank
from runtime.clips import windows
from tests import tiny
from train.zero_shot import embedding
from train.zero_shot.embedding import by_length, embed_clips, embed_labels, embed_texts

LENGTHS = [1, 700, 7999, 8000, 8001, 15_999, 20_500, 31_000]


def clips() -> list[np.ndarray]:
    """Shorter and longer than a window, on the grid of int16."""
    made = [tiny.waveforms(1, length, seed=i)[0].numpy() for i, length in enumerate(LENGTHS)]
    return [(np.round(x * 32767) / 32768).astype(np.float32) for x in made]


@pytest.mark.parametrize("together", [1, 3, 64])
def test_embeddings_of_clips_are_the_runtimes(
    exported_bundle: Path, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "WINDOWS", together)
    taken: list[int] = []

    def one_by_one() -> Iterator[np.ndarray]:
        for i, clip in enumerate(clips()):
            taken.append(i)
            yield clip

    got = embed_clips(tiny.checkpoint().model, one_by_one())
    want = Encoder(exported_bundle).embed_audio(clips(), tiny.RATE)
    assert taken == list(range(len(LENGTHS)))
    assert got.shape == (len(LENGTHS), tiny.DIM)
    assert (got.dtype, got.requires_grad) == (torch.float32, False)
    assert np.abs(want[0] - want[-1]).max() > 0.01
    assert np.abs(got.numpy() - want).max() < 1e-5


def test_feature_fusion_hears_each_clip_whole() -> None:
    model = tiny.checkpoint(tiny.FUSION).model
    got = embed_clips(model, clips())
    for clip, row in zip(clips(), got, strict=True):
        heard = windows.rows(clip, model.config.audio)
        assert len(heard) == 1
        with torch.no_grad():
            assert (model.embed_audio(torch.from_numpy(heard))[0] - row).abs().max() < 1e-5


@pytest.mark.parametrize("batch", [2, 128])
def test_embeddings_of_texts_are_the_runtimes(
    exported_bundle: Path, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "TEXTS", batch)
    texts = [*tiny.SENTENCES, "rain " * 40, "sea"]
    got = embed_texts(tiny.checkpoint().model, tiny.tokenizer(), texts).numpy()
    assert np.abs(got - Encoder(exported_bundle).embed_text(texts)).max() < 1e-5


def test_embeddings_of_labels_are_those_of_a_label_bank(exported_bundle: Path) -> None:
    labels, templates = ["dog", "rain"], ["{}", "a loud {} at sea"]
    encoder = Encoder(exported_bundle)
    bank = LabelBank.build(encoder, labels, templates=templates)
    got = embed_labels(encoder.embed_text, labels, templates)
    assert np.abs(got - bank.embeddings).max() < 1e-6
    (alone,) = embed_labels(encoder.embed_text, ["dog"], ["{}"])
    assert np.abs(alone - got[0]).max() > 1e-3


def test_short_texts_come_first() -> None:
    texts = ["three", "a", "bb", "cc"]
    assert by_length(texts, np.arange(4)).tolist() == [1, 2, 3, 0]
    assert by_length(texts, np.array([0, 3, 2])).tolist() == [3, 2, 0]
