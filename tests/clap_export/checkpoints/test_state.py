"""Translating state dicts: strict, total, and every problem listed at once."""

from __future__ import annotations

import argparse
import collections
from pathlib import Path

import numpy as np
import pytest
import torch

from clap_export.checkpoints import load
from clap_export.checkpoints.state import Rule, State, drop, prefixed
from clap_export.checkpoints.torch_file import read
from runtime.errors import ClapError
from tests import originals

ONE = torch.ones(1)


def state(tensors: dict[str, torch.Tensor]) -> State:
    return State("f", tensors)


def test_the_first_rule_that_matches_a_whole_key_decides() -> None:
    rules = [Rule(r"a\.(\d)\.w", r"b.\1.weight"), drop("a.*", "the rest"), Rule("c", "d")]
    assert set(state({"a.3.w": ONE, "a.3.x": ONE, "c": ONE}).translated(rules)) == {
        "b.3.weight",
        "d",
    }


def test_unknown_and_colliding_keys_are_all_listed() -> None:
    rules = [Rule(r"[ab]", "x")]
    with pytest.raises(ClapError) as caught:
        State("some file", {"a": ONE, "b": ONE, "c": ONE, "ab": ONE}).translated(rules)
    for part in ("some file", "'b' would become 'x' a second time", "unexpected 'c'", "'ab'"):
        assert part in str(caught.value)


def test_prefixes_are_literal() -> None:
    rules = prefixed("a.b.", [Rule(r"(w)", r"\1")], "t.")
    assert set(state({"a.b.w": ONE}).translated(rules)) == {"t.w"}
    with pytest.raises(ClapError, match=r"unexpected 'aXb\.w'"):
        state({"aXb.w": ONE}).translated(rules)


def test_tensors_are_float32_and_know_how_coarsely_they_were_stored() -> None:
    found = State.of("f", {
        "a": torch.ones(2, dtype=torch.float16), "b": torch.ones(2, dtype=torch.bfloat16),
        "d": torch.ones(2, dtype=torch.float64), "n": torch.ones(2, dtype=torch.int64),
    })  # fmt: skip
    assert {name: value.dtype for name, value in found.items()} == {
        "a": torch.float32, "b": torch.float32, "d": torch.float32, "n": torch.int64
    }  # fmt: skip
    assert found.rounding == {"a": 2**-11, "b": 2**-8}


def test_what_is_no_state_dict_is_refused() -> None:
    for data in (None, {}, [ONE]):
        with pytest.raises(ClapError, match="holds no state dict"):
            State.of("f", data)
    with pytest.raises(ClapError, match="not tensors by name in the state dict: epoch, 3, c"):
        State.of("f", {"a": ONE, "epoch": 4, 3: ONE, "c": torch.ones(1, dtype=torch.complex64)})


def test_what_training_scripts_leave_beside_the_weights_is_read(tmp_path: Path) -> None:
    beside = {
        "best": np.float32(0.5), "scores": np.arange(3.0), "args": argparse.Namespace(lr=1e-3),
        "order": collections.OrderedDict(a=1), "step": np.int64(7),
    }  # fmt: skip
    torch.save(beside, tmp_path / "a.pt")
    found = read(tmp_path / "a.pt")
    assert found["best"] == 0.5
    assert found["scores"].tolist() == [0, 1, 2]
    assert found["args"].lr == 1e-3
    assert found["order"] == {"a": 1}
    assert found["step"] == 7


def changed(path: Path, name: str, value: torch.Tensor | None) -> Path:
    """A small LAION checkpoint with one tensor replaced, or without it."""
    data = read(originals.small_laion(path))
    if value is None:
        del data["state_dict"][f"module.{name}"]
    else:
        data["state_dict"][f"module.{name}"] = value
    torch.save(data, path)
    return path


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("audio_branch.bn0.weight", None, "no usable tensor 'audio_branch.bn0.weight'"),
        ("text_branch.pooler.dense.bias", None, "missing 'text_encoder.transformer.pooler"),
        ("audio_branch.extra", ONE, "unexpected 'audio_branch.extra'"),
        ("logit_scale_a", torch.tensor(float("nan")), "'logit_scale' has values that are not fin"),
        ("audio_projection.2.bias", torch.ones(5), r"'audio_projection.linear2.bias' has shape"),
        ("audio_branch.patch_embed.mel_conv2d.bias", ONE, "feature fusion other than aff_2d"),
        (
            "audio_branch.spectrogram_extractor.stft.conv_imag.weight",
            torch.ones(513, 1, 1024),
            "the stored STFT is not the DFT of its window",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit(
    name: str, value: torch.Tensor | None, message: str, tmp_path: Path
) -> None:
    path = changed(tmp_path / "laion.pt", name, value)
    with pytest.raises(ClapError, match=message):
        load(path, tokenizer=originals.tokenizer_folder(tmp_path / "t"))


def test_a_family_is_told_by_keys_with_or_without_their_wrapping(tmp_path: Path) -> None:
    path = originals.small_laion(tmp_path / "a")
    folder = originals.tokenizer_folder(tmp_path / "t")
    whole = load(path, tokenizer=folder)
    torch.save(read(path)["state_dict"], tmp_path / "b")
    assert load(tmp_path / "b", tokenizer=folder).space_id() == whole.space_id()
