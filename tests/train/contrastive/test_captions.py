"""The caption bank: which texts are true of which clip, and their cached states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests import tiny
from train.contrastive.captions import CaptionBank
from train.data.listing import Clip

CLIPS = [
    Clip(Path("a"), ("A dog barks.",), ("dog_bark",), "dog", 1.0),
    Clip(Path("b"), ("Rain falls.", "It rains."), (), "rain", 1.0),
    Clip(Path("c"), ("A hound.", "A dog barks."), ("dog_bark", "hound"), "dog", 1.0),
]
TEMPLATES = ["{}", "sound of {}"]
TEXTS = {
    "dog": ["A dog barks.", "dog bark", "sound of dog bark", "A hound.", "hound", "sound of hound"],
    "rain": ["Rain falls.", "It rains."],
}


def test_a_labels_texts_are_those_of_all_its_clips_once() -> None:
    bank = CaptionBank(CLIPS, TEMPLATES)
    assert bank.labels == ["dog", "rain"]
    assert bank.index == {"dog": 0, "rain": 1}
    assert bank.texts == TEXTS["dog"] + TEXTS["rain"]


def test_a_label_of_which_nothing_else_is_said_is_a_name() -> None:
    """As a listing with a column of labels alone gives it; one with a caption keeps to that."""
    alone = [Clip(Path("a"), (), (), "car_horn", 1.0), Clip(Path("b"), (), (), "dog", 1.0)]
    bank = CaptionBank([*alone, CLIPS[0]], TEMPLATES)
    assert bank.texts == ["car horn", "sound of car horn", "A dog barks.", "dog bark",
                          "sound of dog bark"]  # fmt: skip
    rng = np.random.default_rng(0)
    assert {bank.texts[bank.draw(0, rng)] for _ in range(50)} == {"car horn", "sound of car horn"}


def test_draw_gives_every_text_of_the_label_alike_and_no_other() -> None:
    bank, rng = CaptionBank(CLIPS, TEMPLATES), np.random.default_rng(0)
    for label, texts in TEXTS.items():
        drawn = [bank.texts[bank.draw(bank.index[label], rng)] for _ in range(3000)]
        assert set(drawn) == set(texts)
        for text in texts:  # within 5 standard deviations of 1/n
            share = 1 / len(texts)
            spread = 5 * np.sqrt(share * (1 - share) / 3000)
            assert abs(drawn.count(text) / 3000 - share) < spread


def test_states_are_the_text_towers_in_evaluation_mode() -> None:
    config = tiny.config()
    model, tokenizer = tiny.model(config), tiny.tokenizer()
    clips = [Clip(Path("x"), (f"sound number {i} of rain",), (), f"{i}", 1.0) for i in range(130)]
    bank = CaptionBank([*CLIPS, *clips], TEMPLATES)
    assert bank.states is None
    model.train()
    bank.refresh(model, tokenizer, torch.device("cpu"))
    assert model.training  # the mode is put back
    model.eval()
    assert bank.states.shape == (len(bank.texts), 32)
    assert not bank.states.requires_grad
    for i in (0, 1, 7, 127, 128, len(bank.texts) - 1):  # batches of 128
        ids = torch.tensor([tokenizer.encode(bank.texts[i]).ids[: tiny.TOKENS]])
        ids = ids[:, : int((ids != 0).sum())]
        with torch.no_grad():
            want = model.text_encoder(ids, torch.ones_like(ids), torch.zeros_like(ids))[0]
        assert (bank.states[i] - want).abs().max() < 1e-5 * want.abs().max()
