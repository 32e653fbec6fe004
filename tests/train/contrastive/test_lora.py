"""Low-rank adapters: nothing else in a tower learns, and what is saved has none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from clap_export.checkpoints import load
from clap_export.model.clap import ClapModel
from runtime import schema
from runtime.errors import SchemaError
from tests import tiny
from tests.tiny import run as tinyrun
from train.config.contrastive import LoraConfig, TrainConfig
from train.contrastive.lora import inject, merged
from train.contrastive.optimiser import set_learning
from train.contrastive.run import run
from train.data.texts import encode

TOWERS = [
    {"audio": "cnn14", "text": "bert-cls"},
    {"audio": "htsat", "text": "roberta-mean"},
    {"audio": "compact", "text": "gpt2-last"},
]

pytestmark = pytest.mark.usefixtures("one_thread")


def embeddings(model: ClapModel) -> list[torch.Tensor]:
    """Of three clips and two texts, by the model in evaluation mode."""
    batch = encode(tiny.tokenizer(), ["rain", "a siren and a bell"], model.config.text_encoder)
    with torch.no_grad():
        return [model.eval().embed_audio(tiny.waveforms(3)), model.embed_text(**batch)]


@pytest.mark.parametrize("towers", TOWERS, ids=lambda t: t["audio"])
def test_adapters_begin_at_nothing_and_merge_into_the_weights(towers: dict[str, str]) -> None:
    torch.manual_seed(0)
    model = ClapModel(tiny.config(**towers))
    names = list(model.state_dict())
    before = embeddings(model)
    inject(model, LoraConfig(("audio", "text"), rank=2), seed=1)
    assert all(map(torch.equal, embeddings(model), before))
    found = [p for n, p in model.named_parameters() if "lora_B" in n]
    assert len(found) > 4
    for parameter in found:
        torch.nn.init.normal_(parameter, std=0.1)
    moved = embeddings(model)
    for one, other in zip(moved, before, strict=True):
        assert (one - other).abs().max() > 1e-3
    plain = merged(model)
    assert list(plain.state_dict()) == names
    for one, other in zip(embeddings(plain), moved, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    assert merged(plain) is plain
    assert all(map(torch.equal, embeddings(model), moved))  # the adapters are still their own


def test_only_adapters_learn_in_a_tower_that_has_them(tmp_path: Path) -> None:
    config = tinyrun.config(tmp_path, text_from_epoch=1)
    assert config.model is not None
    model = ClapModel(config.model)
    inject(model, LoraConfig(("text",)), seed=1)
    for epoch in (0, 1):
        set_learning(model, epoch, config.loop)
        learns = {n for n, p in model.named_parameters() if p.requires_grad}
        text = {n for n in learns if n.startswith("text_encoder.")}
        assert text == {n for n, _ in model.named_parameters() if "lora_" in n and epoch == 1}
        rest = {n for n, _ in model.named_parameters() if not n.startswith("text_encoder.")}
        assert rest <= learns


def adapted(folder: Path, text: Path, **loop: Any) -> TrainConfig:
    folder.mkdir()
    made = tinyrun.config(folder, epochs=4, text_from_epoch=0, validate_every=4, **loop)
    return replace(made, text_init=str(text), lora=LoraConfig(("audio", "text"), rank=1))


def test_a_run_changes_every_matrix_by_its_rank_and_nothing_else(tmp_path: Path) -> None:
    text = tiny.save(tmp_path / "text.safetensors")
    start = load(text).model.state_dict()
    end = load(run(adapted(tmp_path / "run", text, ema=0.0))).model.state_dict()
    changed = 0
    for name, value in end.items():
        if not name.startswith("text_encoder."):
            continue
        change = (value - start[name]).double()
        if value.ndim == 2 and "embeddings" not in name:
            singular = torch.linalg.svdvals(change)
            assert singular[0] > 1e-5, name
            # Float32's rounding of W + BA is what is left.
            assert singular[1] < 1e-3 * singular[0] + 1e-6, name
            changed += 1
        else:
            assert not change.any(), name
    assert changed == 6  # query, key, value, output, and two of the feed-forward part


def test_a_run_goes_on_with_its_adapters(tmp_path: Path) -> None:
    """The same bits as one that was not stopped."""
    text = tiny.save(tmp_path / "text.safetensors")
    straight = adapted(tmp_path / "straight", text, schedule="plateau")
    halves = adapted(tmp_path / "halves", text, schedule="plateau")
    want = load(run(straight)).model.state_dict()
    run(replace(halves, loop=replace(halves.loop, epochs=2)))
    found = load(run(halves, override=True)).model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in want.items())


@pytest.mark.parametrize(
    ("lora", "problem"),
    [
        ({"towers": []}, "name 'audio', 'text' or both"),
        ({"towers": ["text"], "rank": 0}, "rank is 0"),
        ({"towers": ["text"], "dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_adapters_that_make_no_sense_are_refused(lora: dict[str, Any], problem: str) -> None:
    with pytest.raises(SchemaError, match=problem):
        schema.read(LoraConfig, lora, "run.toml")


def test_a_tower_is_not_both_frozen_and_adapted(tmp_path: Path) -> None:
    config = tinyrun.config(tmp_path, freeze=("text",))
    with pytest.raises(ValueError, match="name the same tower"):
        replace(config, lora=LoraConfig(("text",)))
