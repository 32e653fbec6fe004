"""Tiny random CLAP models and checkpoints: every audio encoder, every text model and pooling."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from clap_export.checkpoints import Checkpoint, native
from clap_export.model.clap import ClapModel
from clap_export.model.config import (
    AudioEncoderConfig,
    ClapConfig,
    Cnn14Config,
    CompactConfig,
    HtsatConfig,
    ProjectionConfig,
    TextEncoderConfig,
)
from runtime.audio_spec import AudioSpec, Mel
from runtime.manifest import Source
from train.data.vocabulary import learn_wordpiece

RATE = 8_000
WINDOW = 8_000  # 1 s
DIM = 12
TOKENS = 16
# The hop divides neither n_fft nor the window: 8000 samples are 83 frames and a rest.
MEL = Mel(RATE, 256, 97, 32, 50.0, 3800.0, "slaney", "slaney", 1e-10)
FRAMES = 1 + WINDOW // MEL.hop_length

AUDIO = {
    "cnn14": AudioEncoderConfig(cnn14=Cnn14Config(MEL.n_mels, 20, (4, 6, 8))),
    # 32 mel bins fold twice into 64 x 64: at most 128 frames, so 83 are stretched.
    "htsat": AudioEncoderConfig(
        htsat=HtsatConfig(
            MEL.n_mels, 64, embed_dim=8, depths=(2, 2), num_heads=(2, 4), window_size=4
        )
    ),
    "compact": AudioEncoderConfig(compact=CompactConfig("mobilenetv4_conv_small_050", MEL.n_mels)),
}
# Its graph has other inputs, so it is not one of those.
FUSION = "htsat-fusion"
_FUSED = AudioEncoderConfig(
    htsat=HtsatConfig(
        MEL.n_mels, 64, embed_dim=8, depths=(2, 2), num_heads=(2, 4), window_size=4, fusion=True
    )
)
_BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": TOKENS + 4,
}
# Two layers: in the first, the last token sees the same with and without a causal mask.
_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": TOKENS}
_ROBERTA = {**_BERT, "pad_token_id": 0}
TEXT = {
    "bert-cls": TextEncoderConfig("bert", _BERT, "cls", TOKENS, 0, token_type_ids=True),
    "bert-mean": TextEncoderConfig("bert", _BERT, "mean", TOKENS, 0, token_type_ids=True),
    "bert-pooler": TextEncoderConfig("bert", _BERT, "pooler", TOKENS, 0),
    "roberta-mean": TextEncoderConfig("roberta", _ROBERTA, "mean", TOKENS, 0),
    "roberta-pooler": TextEncoderConfig("roberta", _ROBERTA, "pooler", TOKENS, 0),
    "gpt2-last": TextEncoderConfig("gpt2", _GPT2, "last", TOKENS, 0, suffix=" end"),
}
SENTENCES = [
    "A dog barks twice, then rain falls on a tin roof.",
    "rain",
    "Somebody is ringing a bell while the wind blows from the sea",
    "a siren at the end of the street",
]


def tokenizer() -> Tokenizer:
    """A WordPiece vocabulary of the sentences above, the same each time."""
    return learn_wordpiece(SENTENCES, 90)


def config(audio: str = "cnn14", text: str = "bert-mean", **changes: Any) -> ClapConfig:
    """A config by the names of its encoders."""
    encoder = TEXT[text]
    size = tokenizer().get_vocab_size()
    made = ClapConfig(
        name="tiny",
        licence="MIT",
        embedding_dim=DIM,
        audio=AudioSpec(
            RATE, WINDOW, WINDOW, "repeat", False, MEL,
            "fusion" if audio == FUSION else "windows",
        ),
        audio_encoder=_FUSED if audio == FUSION else AUDIO[audio],
        audio_projection=ProjectionConfig("residual"),
        text_encoder=replace(encoder, options={**encoder.options, "vocab_size": size}),
        text_projection=ProjectionConfig("linear"),
        default_template="This is a sound of {}.",
    )  # fmt: skip
    return replace(made, **changes)


def model(made: ClapConfig, seed: int = 0) -> ClapModel:
    """A model in evaluation mode with every weight, bias and statistic random."""
    torch.manual_seed(seed)
    result = ClapModel(made).eval()
    randomise(result)
    return result


@torch.no_grad()
def randomise(model: ClapModel) -> None:
    """Make every number matter, and different inputs give different embeddings.

    Matrices keep the size of a signal; norms and biases are moved from 1 and 0. Statistics of
    normalisations are those of some clips, moved a little: with arbitrary ones a deep network
    forgets its input.
    """
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            fan_in = 1 if "embeddings" in name else parameter[0].numel()
            parameter.normal_(0.0, fan_in**-0.5)
        elif parameter.ndim == 1:
            parameter.normal_(1.0 if name.endswith("weight") else 0.0, 0.2)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.train().momentum = 1.0
    spec = model.config.audio
    model.embed_audio(waveforms(16, spec.window_samples, seed=99))
    for norm in norms:
        norm.eval().momentum = 0.1
        norm.running_mean.add_(0.2 * norm.running_var.sqrt() * torch.randn(norm.num_features))
        norm.running_var.mul_(torch.empty(norm.num_features).uniform_(0.7, 1.4))


def checkpoint(audio: str = "cnn14", text: str = "bert-mean", seed: int = 0) -> Checkpoint:
    """A checkpoint as a loader returns it, without a file."""
    source = Source("native", "tiny.safetensors", "0" * 64, "MIT")
    return Checkpoint(model(config(audio, text), seed), tokenizer().to_str(), source)


def save(path: Path, audio: str = "cnn14", text: str = "bert-mean", seed: int = 0) -> Path:
    """A checkpoint file; the suffix chooses the format."""
    native.save(path, model(config(audio, text), seed), tokenizer().to_str())
    return path


def waveforms(count: int, samples: int = WINDOW, seed: int = 0) -> Tensor:
    """Clips ``[count, samples]``: tones, noise, and both, at different levels, interrupted.

    A faint noise is under everything, as in a recording: behind a pure tone the decibels of the
    other mel bins would be those of rounding.
    """
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / RATE
    clips = []
    for i in range(count):
        tone = np.sin(2 * np.pi * rng.uniform(100, 3000) * t) * (i % 3 != 1)
        noise = rng.standard_normal(samples) * rng.uniform(0.0, 0.3) * (i % 3 != 0)
        gate = np.sin(2 * np.pi * rng.uniform(1, 6) * t) > rng.uniform(-1, 0.5)
        faint = 0.02 * rng.standard_normal(samples)
        clips.append(rng.uniform(0.1, 0.5) * (tone + noise) * gate + faint)
    return torch.from_numpy(np.clip(clips, -1, 1).astype(np.float32))


def tokens(count: int, text: TextEncoderConfig, seed: int = 0) -> dict[str, Tensor]:
    """Random token inputs ``[count, TOKENS]`` of different lengths, padded on the right."""
    rng = np.random.default_rng(seed)
    lengths = [TOKENS, 3, *rng.integers(2, TOKENS, count)][:count]
    mask = (np.arange(TOKENS) < np.array(lengths)[:, None]).astype(np.int64)
    ids = rng.integers(4, 60, (count, TOKENS))
    batch = {
        "input_ids": torch.from_numpy(np.where(mask == 1, ids, text.pad_id)),
        "attention_mask": torch.from_numpy(mask),
    }
    if text.token_type_ids:
        batch["token_type_ids"] = torch.zeros_like(batch["input_ids"])
    return batch


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    """A mono WAV file that keeps float samples exactly, and has the same bytes at any time."""
    soundfile.write(path, samples, rate, subtype="FLOAT")
    data = bytearray(path.read_bytes())
    if (peak := data.find(b"PEAK", 0, 200)) > 0:
        data[peak + 12 : peak + 16] = bytes(4)  # when it was written
        path.write_bytes(data)
    return path
