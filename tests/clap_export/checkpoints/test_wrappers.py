"""The same weights load under whatever training code put around them, or the sentence says what."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from clap_export.checkpoints import load, native
from clap_export.checkpoints.torch_file import read
from clap_export.checkpoints.wrappers import find
from runtime.errors import ClapError
from tests import originals, tiny

State = dict[str, Tensor]
MARKS = {"one": ("audio_branch.", "text_branch.")}
BARE = {"audio_branch.w": torch.ones(1), "text_branch.w": torch.ones(2), "scale": torch.ones(())}


def under(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


def averaged(state: State) -> dict[str, Any]:
    return {"n_averaged": torch.tensor(3), **under("module.", state)}


def inside(state: State) -> State:
    return {name.replace("branch.", "branch._orig_mod.module."): v for name, v in state.items()}


WRAPPED: dict[str, Callable[[State], Any]] = {
    **{
        prefix: lambda state, prefix=prefix: under(prefix, state)
        for prefix in (
            "", "module.", "model.", "_orig_mod.", "module.module.", "module._orig_mod.",
            "_orig_mod.module.model.", "net.", "clap.", "model.clap._orig_mod.",
            "_fsdp_wrapped_module.",
        )
    },
    **{
        f"{{{key}}}": lambda state, key=key: {key: state, "epoch": 1, "optimizer": {"state": {}}}
        for key in ("model", "state_dict", "model_state_dict", "weights", "anything")
    },
    "Lightning": lambda state: {"state_dict": under("model.", state), "hyper_parameters": {}},
    "keys in keys": lambda state: {"a": {"model": {"state_dict": under("module.net.", state)}}},
    "inner modules": inside,
    "an average": averaged,
    "an average under a key": lambda state: {"ema": state, "step": 4},
}  # fmt: skip


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_the_bare_state_is_found(wrapped: str) -> None:
    found = find("f", WRAPPED[wrapped](BARE), MARKS)
    assert found is not None
    assert found[0] == "one"
    assert found[1].where == "f"
    assert list(found[1]) == list(BARE)
    assert all(found[1][name] is value for name, value in BARE.items())


AVERAGES: dict[str, Callable[[State, State], Any]] = {
    "timm": lambda state, average: {"state_dict": state, "state_dict_ema": average},
    "model_ema": lambda state, average: {"model_ema": average, "model": state},
    "names": lambda state, average: {**under("model.", state), **under("model_ema.", average)},
    "beside": lambda state, average: {**state, **under("ema.", average)},
}


@pytest.mark.parametrize("kind", AVERAGES)
def test_weights_are_taken_and_not_their_average(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    average = {name: value * 2 for name, value in BARE.items()}
    with caplog.at_level(logging.WARNING):
        found = find("some file", AVERAGES[kind](BARE, average), MARKS)
    assert found is not None
    assert {name: value.tolist() for name, value in found[1].items()} == {
        name: value.tolist() for name, value in BARE.items()
    }
    assert "some file" in caplog.text
    assert "the weights are used" in caplog.text


def test_what_belongs_to_something_else_stays_to_be_named() -> None:
    found = find("f", {**under("model.", BARE), "loss.bias": torch.ones(1)}, MARKS)
    assert found is not None
    assert "loss.bias" in found[1]


def test_several_models_are_not_chosen_from() -> None:
    with pytest.raises(ClapError, match=r"f holds several models: a, b/net\.\*"):
        find("f", {"a": BARE, "b": under("net.", BARE)}, MARKS)


def test_nothing_there() -> None:
    half = {"audio_branch.w": torch.ones(1)}
    for data in (None, [], {}, 3, {"a": {}}, half, {"x_audio_branch.w": 1, "x_text_branch.w": 1}):
        assert find("f", data, MARKS) is None


@pytest.fixture(scope="module")
def laion(tmp_path_factory: pytest.TempPathFactory) -> State:
    data = read(originals.small_laion(tmp_path_factory.mktemp("laion") / "a.pt"))
    return {k.removeprefix("module."): v for k, v in data["state_dict"].items()}


def space(path: Path) -> str:
    words = originals.tokenizer_folder(path.parent / "words")
    return load(path, tokenizer=words).space_id()


@pytest.mark.parametrize(
    "wrapped", ["model.", "{model}", "Lightning", "inner modules", "an average"]
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_of_a_family(wrapped: str, suffix: str, laion: State, tmp_path: Path) -> None:
    torch.save(laion, tmp_path / "bare.pt")
    path = tmp_path / f"a{suffix}"
    made = WRAPPED[wrapped](laion)
    if suffix == ".pt":
        torch.save(made, path)
    elif all(isinstance(value, Tensor) for value in made.values()):
        save_file({name: value.contiguous() for name, value in made.items()}, path)
    else:
        pytest.skip("a safetensors file has no keys in keys")
    assert space(path) == space(tmp_path / "bare.pt")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("counters", [True, False])
def test_half_precision(dtype: torch.dtype, counters: bool, laion: State, tmp_path: Path) -> None:
    """The window and the filterbank are the exact ones; all else is what was stored."""
    torch.save(laion, tmp_path / "full.pt")
    coarse = {k: v.to(dtype) if counters or v.is_floating_point() else v for k, v in laion.items()}
    torch.save({"state_dict": coarse}, tmp_path / "half.pt")
    words = originals.tokenizer_folder(tmp_path / "words")
    full, half = (load(tmp_path / f"{name}.pt", tokenizer=words) for name in ("full", "half"))
    for name in ("window", "filterbank"):
        stored, used = (getattr(one.model.mel, name) for one in (full, half))
        assert (stored - used).abs().max() < 1e-6 * stored.max()
    weight = "audio_projection.linear1.weight"
    exact, rounded = (one.model.state_dict()[weight] for one in (full, half))
    assert torch.equal(rounded, exact.to(dtype).float())
    assert full.findings == ()
    (finding,) = half.findings
    assert finding.name == "half-precision-frontend"
    assert "window and filterbank" in finding.detail


def test_a_coarse_frontend_that_is_not_the_usual_one_is_kept(laion: State, tmp_path: Path) -> None:
    changed = {name: value.half() for name, value in laion.items()}
    bank = "audio_branch.logmel_extractor.melW"
    changed[bank] = changed[bank] * 2
    torch.save(changed, tmp_path / "a.pt")
    found = load(tmp_path / "a.pt", tokenizer=originals.tokenizer_folder(tmp_path / "words"))
    assert torch.equal(found.model.mel.filterbank, changed[bank].float())
    assert "window differ" in found.findings[0].detail


def test_integers_in_the_place_of_weights(laion: State, tmp_path: Path) -> None:
    torch.save({**laion, "logit_scale_a": torch.tensor(3)}, tmp_path / "a.pt")
    with pytest.raises(ClapError, match="'logit_scale' holds int64 where the model has real"):
        space(tmp_path / "a.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_our_own_checkpoint_of_a_wrapped_model(suffix: str, tmp_path: Path) -> None:
    model = tiny.model(tiny.config())
    wrapper = nn.Module()
    wrapper.add_module("_orig_mod", model)
    wrapper.config = model.config  # pyright: ignore[reportAttributeAccessIssue]
    native.save(tmp_path / f"a{suffix}", wrapper, tiny.tokenizer().to_str())  # pyright: ignore[reportArgumentType]
    assert load(tmp_path / f"a{suffix}").space_id() == tiny.checkpoint().space_id()
