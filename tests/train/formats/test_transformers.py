"""What is written as a ClapModel is what transformers hears and reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from clap_export.checkpoints import load, native
from clap_export.model.config import ProjectionConfig
from runtime.errors import ClapError
from tests import tiny
from train.formats.transformers import to_transformers
from train.zero_shot.embedding import embed_texts

MLP = ProjectionConfig("mlp")


def saved(path: Path, audio: str = "htsat") -> Path:
    made = tiny.config(audio, "roberta-pooler", audio_projection=MLP, text_projection=MLP)
    if audio == tiny.FUSION:
        mel = replace(made.audio.mel, scale="htk", norm=None)
        made = replace(made, audio=replace(made.audio, mel=mel))
    native.save(path, tiny.model(made), tiny.tokenizer().to_str())
    return path


def test_transformers_gives_the_same_embeddings(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

    to_transformers(saved(tmp_path / "a.safetensors"), tmp_path / "clap")
    theirs = ClapModel.from_pretrained(tmp_path / "clap").eval()
    ours = load(tmp_path / "a.safetensors").model.eval()
    waveforms = tiny.waveforms(3)
    hear = ClapFeatureExtractor.from_pretrained(tmp_path / "clap")
    with torch.no_grad():
        heard = hear(list(waveforms.numpy()), sampling_rate=tiny.RATE, return_tensors="pt")
        audio = theirs.get_audio_features(**heard).pooler_output
        assert torch.cosine_similarity(audio, ours.embed_audio(waveforms)).min() > 0.99999
        tokens = AutoTokenizer.from_pretrained(tmp_path / "clap")(
            tiny.SENTENCES, padding=True, truncation=True, return_tensors="pt"
        )
        text = theirs.get_text_features(**tokens).pooler_output
        want = embed_texts(ours, tiny.tokenizer(), tiny.SENTENCES)
        assert torch.cosine_similarity(text, want).min() > 0.99999
        assert theirs.logit_scale_a.exp().item() == pytest.approx(ours.scale().item())


def test_a_fused_model_keeps_every_weight(tmp_path: Path) -> None:
    to_transformers(saved(tmp_path / "a.safetensors", tiny.FUSION), tmp_path / "clap")
    ours, again = load(tmp_path / "a.safetensors").model, load(tmp_path / "clap").model
    assert again.config.audio.long_clips == "fusion"
    for name, value in ours.audio_encoder.state_dict().items():
        assert torch.equal(value, again.audio_encoder.state_dict()[name]), name


def test_our_loader_reads_the_tokenizer_too(tmp_path: Path) -> None:
    to_transformers(saved(tmp_path / "a.safetensors"), tmp_path / "clap")
    read = Tokenizer.from_str(load(tmp_path / "clap").tokenizer)
    for sentence in tiny.SENTENCES:
        assert read.encode(sentence).ids == tiny.tokenizer().encode(sentence).ids


def test_what_clap_model_has_not_is_named(tmp_path: Path) -> None:
    path = tiny.save(tmp_path / "a.safetensors")  # a CNN14 with a BERT
    with pytest.raises(ClapError) as caught:
        to_transformers(path, tmp_path / "clap")
    for problem in ("is no HTSAT", "is a bert", "pooled by 'mean'", "residual, not mlp"):
        assert problem in str(caught.value)
    assert not (tmp_path / "clap").exists()
    (tmp_path / "clap").mkdir()
    with pytest.raises(ClapError, match="exists"):
        to_transformers(saved(tmp_path / "b.safetensors"), tmp_path / "clap")
