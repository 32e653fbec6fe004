"""A model of open_clip's CLAP: the same towers as LAION's under other names, and its own config.

LAION's original code has recorded what these weights give (`goldens`); open_clip's conversion of
such a model renames tensors and moves one of two logit scales.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from clap_export.checkpoints import load
from runtime.errors import ClapError
from tests import originals

CONFIG = {
    "embed_dim": 32,
    "audio_cfg": {
        "clip_samples": 480_000, "mel_bins": 64, "sample_rate": 48_000, "window_size": 1024,
        "hop_size": 480, "fmin": 50, "fmax": 14_000, "class_num": 527, "model_type": "HTSAT",
        "model_name": "tiny", "proj_act": "relu",
    },
    "text_cfg": {
        "hf_model_name": "roberta-base", "hf_tokenizer_name": "roberta-base",
        "hf_pooler_type": "cls_pooler", "hf_proj_type": "clap_mlp", "context_length": 60,
    },
}  # fmt: skip
RENAMED = (
    (r"audio_branch\.", "audio.encoder."), (r"text_branch\.", "text.transformer."),
    (r"audio_projection\.", "audio.proj."), (r"text_projection\.", "text.proj."),
    (r"logit_scale_a", "logit_scale"),
)  # fmt: skip


def folder(path: Path, laion: Path, *, stft: bool = True, **audio: object) -> Path:
    """open_clip's folder of a LAION checkpoint."""
    path.mkdir()
    state = {}
    for name, value in torch.load(laion, weights_only=False)["state_dict"].items():
        for pattern, to in RENAMED:
            new, count = re.subn("^module." + pattern, to, name)
            if count and (stft or "extractor" not in new):
                state[new] = value.contiguous()
    save_file(state, path / "open_clip_model.safetensors")
    config = CONFIG | {"audio_cfg": {**CONFIG["audio_cfg"], **audio}}
    (path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    return originals.tokenizer_folder(path)


@pytest.fixture(scope="module")
def laion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return originals.small_laion(tmp_path_factory.mktemp("laion") / "small.pt")


@pytest.mark.parametrize("stft", [True, False])
def test_it_gives_what_laions_loader_gives(laion: Path, tmp_path: Path, stft: bool) -> None:
    found = load(folder(tmp_path / "clap", laion, stft=stft))
    want = load(laion, tokenizer=tmp_path / "clap")
    waves = torch.randn(2, 480_000, generator=torch.Generator().manual_seed(0)) * 0.1
    ids = torch.tensor([[0, 7, 9, 11, 2]])
    with torch.no_grad():
        close = found.model.embed_audio(waves) - want.model.embed_audio(waves)
        assert close.abs().max() < (1e-7 if stft else 1e-5)
        mask = torch.ones_like(ids)
        assert torch.equal(found.model.embed_text(ids, mask), want.model.embed_text(ids, mask))
    assert found.model.scale() == want.model.scale()
    assert found.source.family == "open_clip"
    assert found.model.config.text_encoder.max_tokens == 60
    assert not found.model.config.audio.int16_round_trip


def test_other_architectures_are_refused_all_reasons_at_once(laion: Path, tmp_path: Path) -> None:
    path = folder(tmp_path / "clap", laion, proj_act="gelu", enable_fusion=True)
    with pytest.raises(ClapError) as caught:
        load(path)
    assert "audio_cfg.proj_act is 'gelu', not 'relu'" in str(caught.value)
    assert "audio_cfg.enable_fusion is True, not False" in str(caught.value)


def test_missing_weights_and_a_bare_file(laion: Path, tmp_path: Path) -> None:
    path = folder(tmp_path / "clap", laion)
    with pytest.raises(ClapError, match="--family open_clip give the folder it is in"):
        load(path / "open_clip_model.safetensors", family="open_clip")
    (path / "open_clip_model.safetensors").unlink()
    with pytest.raises(ClapError, match=r"no open_clip_model\.safetensors or open_clip_pytorch"):
        load(path)
