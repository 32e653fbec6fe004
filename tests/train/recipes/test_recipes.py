"""The recipes of the papers at their full size: each begins from generated weights and learns."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clap_export.checkpoints import load
from runtime.audio_spec import AudioSpec
from tests import originals
from tests.goldens import recipe
from tests.places import ROOT
from tests.tiny import write_wav
from train.config import contrastive as reader
from train.config.data import ListingConfig
from train.contrastive.run import run

# Golden whose layout the audio tower's file has, what its names begin with, one of its layers, text
# model; and millions of parameters of both towers.
RECIPES = {
    "clap2022": ("msclap-2022", "audio_encoder.base.", "fc1", "bert", (79.7, 108.9)),
    "laion": ("laion-tiny", "audio_branch.", "patch_embed.proj", "roberta", (27.5, 124.6)),
}
SIZES = {  # roberta-base differs from its class' defaults
    "bert": {},
    "roberta": {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1},
}


def audio_file(name: str, prefix: str, path: Path) -> dict[str, torch.Tensor]:
    """A tower as its authors publish it, in full size, of the golden's weights."""
    layout = json.loads(str(originals.golden(name)["layout"]))
    state = {}
    for whole, (dtype, shape) in layout.items():
        if whole.startswith(prefix) and ".projection." not in whole:
            value = recipe.weight(whole, tuple(shape)) if dtype.startswith("float") else None
            made = torch.zeros(shape).long() if value is None else torch.from_numpy(value)
            state[whole.removeprefix(prefix)] = made
    torch.save({"model": state}, path)
    return state


def text_folder(kind: str, folder: Path) -> None:
    """A base-sized model of random weights, and a small tokenizer."""
    import transformers

    torch.manual_seed(4)
    config = transformers.AutoConfig.for_model(kind, **SIZES[kind])
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    originals.tokenizer_folder(folder, kind)


def listing(folder: Path, audio: AudioSpec) -> ListingConfig:
    path = folder / "clips.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("file", "caption"))
        for number, text in enumerate(recipe.TEXTS):
            sound = recipe.sound(audio.window_samples + 1000 * number, audio.sample_rate)
            name = write_wav(folder / f"{number}.wav", sound[number % 3], audio.sample_rate).name
            rows.writerow((name, text))
    return ListingConfig(str(path), "file", captions=("caption",))


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_papers_recipe_learns_in_full_size(name: str, tmp_path: Path) -> None:
    """Its own model, losses and rates, on four clips in place of the corpora, with batches of 2."""
    golden, prefix, layer, kind, millions = RECIPES[name]
    made = reader.load(ROOT / "train" / "recipes" / f"{name}.toml")
    assert made.model is not None
    audio = audio_file(golden, prefix, tmp_path / "audio.pth")
    text_folder(kind, tmp_path / "text")
    loop = replace(made.loop, epochs=1, steps_per_epoch=2, batch_size=2, warmup_epochs=0)
    made = replace(
        made, out=str(tmp_path / "run"), device="cpu", threads=2, loop=loop,
        audio_init=str(tmp_path / "audio.pth"), text_init=str(tmp_path / "text"),
        listings=(listing(tmp_path, made.model.audio),),
    )  # fmt: skip
    found = load(run(made)).model
    (record,) = (made.folder / "metrics.jsonl").read_text().splitlines()
    assert math.isfinite(json.loads(record)["loss"])
    for tower, want in zip((found.audio_encoder, found.text_encoder), millions, strict=True):
        assert sum(p.numel() for p in tower.parameters()) / 1e6 == pytest.approx(want, abs=0.7)
    moved = (found.audio_encoder.get_submodule(layer).weight - audio[f"{layer}.weight"]).abs()
    assert 0 < moved.max() < 3 * made.loop.learning_rate  # Adam's steps are of about one rate
