"""What is written for laion_clap has the names, shapes and numbers of its own checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.generated import checkpoints as generated
from benchmarks.generated.tokenizers import tokenizer_folder
from clap_export.checkpoints import load, native
from runtime.errors import ClapError
from tests import tiny
from train.formats.laion import to_laion

HEADS = ("tscam_conv.", "head.", "_transform.", "logit_scale_t")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["laion-tiny", "laion-fused"])
def test_a_checkpoint_of_the_original_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    """Full size, in the layout that the original's code gave: every key, and every number but those
    of its training's heads."""
    want = generated.state_dict(generated.golden(name))
    want["text_branch.embeddings.position_ids"] = torch.arange(514)[None]
    torch.save({"state_dict": want}, tmp_path / "theirs.pt")
    loaded = load(tmp_path / "theirs.pt", "laion", tokenizer_folder(tmp_path / "tokenizer"))
    native.save(tmp_path / "ours.safetensors", loaded.model, loaded.tokenizer)
    assert to_laion(tmp_path / "ours.safetensors", tmp_path / "again.pt") == "HTSAT-tiny"
    found = torch.load(tmp_path / "again.pt", weights_only=True)["state_dict"]
    assert {k: (v.shape, v.dtype) for k, v in found.items()} == {
        k: (v.shape, v.dtype) for k, v in want.items()
    }
    for key, value in want.items():
        if any(part in key for part in HEADS):
            continue
        if ".stft." in key:  # computed here from the window
            assert (found[key] - value).abs().max() < 1e-6, key
        elif name == "laion-fused" and key.endswith("melW"):  # not used there, and computed here
            assert (found[key] - value).abs().max() < 1e-8, key
        else:
            assert torch.equal(found[key], value), key


def test_another_shape_is_refused_with_every_difference(tmp_path: Path) -> None:
    with pytest.raises(ClapError) as caught:
        to_laion(tiny.save(tmp_path / "a.safetensors"), tmp_path / "a.pt")
    for problem in (
        "none of HTSAT-tiny", "no RoBERTa", "projections are not mlp", "12 dimensions, not 512",
        "sample_rate is 8000, not 48000", "n_mels is 32, not 64",
    ):  # fmt: skip
        assert problem in str(caught.value)
    assert not (tmp_path / "a.pt").exists()


def test_a_fused_model_that_its_code_would_hear_otherwise_is_refused(tmp_path: Path) -> None:
    model = tiny.model(tiny.config(tiny.FUSION))
    assert model.config.audio.mel.scale == "slaney"
    path = tmp_path / "a.safetensors"
    native.save(path, model, tiny.tokenizer().to_str())
    with pytest.raises(ClapError, match="scale htk without a norm, not of slaney with"):
        to_laion(path, tmp_path / "a.pt")
