"""Pretrained towers, generated in the layouts in which their authors publish them."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clap_export.model.clap import ClapModel
from clap_export.model.cnn14 import Cnn14Config
from clap_export.model.config import AudioEncoderConfig, TextEncoderConfig
from clap_export.model.htsat import HtsatConfig
from runtime.errors import ClapError
from tests import originals, tiny
from tests.tiny import run as tinyrun
from train.contrastive.pretrained import fill_audio, read_text
from train.contrastive.start import start_model
from train.machine.run import Run

CPU = torch.device("cpu")


def pann(path: Path) -> dict[str, Tensor]:
    """PANNs' file: the names of the original CNN14 as msclap uses it, three narrow blocks."""
    layout = json.loads(str(originals.golden("msclap-2022")["layout"]))
    encoder = tiny.config().audio_encoder.cnn14
    assert encoder is not None
    widths = dict(zip((64, 128, 256), encoder.channels, strict=True))
    state: dict[str, Tensor] = {}
    torch.manual_seed(2)
    for name, (dtype, shape) in layout.items():
        name = name.removeprefix("audio_encoder.base.")
        if not re.match(r"bn0|conv_block[1-3]|fc1|fc_audioset|spectrogram|logmel", name):
            continue
        if name.startswith("conv"):
            shape = [widths.get(n, n) for n in shape]
        elif name.startswith("bn0"):
            shape = [encoder.n_mels] * len(shape)
        elif name.startswith("fc1"):
            shape = [encoder.width, encoder.channels[-1]][: len(shape)]
        elif name.startswith("fc_audioset"):
            shape = [527, encoder.width][: len(shape)]
        random = torch.rand(shape) + 0.1
        state[name] = random if dtype.startswith("float") else torch.zeros(shape).long()
    torch.save({"iteration": 600_000, "model": state}, path)
    return state


def htsat(path: Path) -> tuple[dict[str, Tensor], HtsatConfig]:
    """HTS-AT's Lightning file: LAION's names of the original, with its classifier."""
    made = originals.small_laion(path.with_name("laion.pt"))
    whole: dict[str, Any] = torch.load(made, weights_only=False)["state_dict"]
    audio = "module.audio_branch."
    state = {k.removeprefix(audio): v for k, v in whole.items() if k.startswith(audio)}
    state["tscam_conv.weight"] = torch.zeros(527, 16, 2, 3)
    state["head.bias"] = torch.zeros(527)
    file = {
        "epoch": 9, "global_step": 1, "pytorch-lightning_version": "1.5.9",
        "hparams_name": "kwargs", "hyper_parameters": argparse.Namespace(lr=1e-3),
        "state_dict": {f"sed_model.{name}": value for name, value in state.items()},
    }  # fmt: skip
    torch.save(file, path)
    heads = state["layers.0.blocks.0.attn.relative_position_bias_table"].shape[1]
    return state, HtsatConfig(embed_dim=16, depths=(2,), num_heads=(heads,))


def test_panns_cnn14_is_taken_whole(tmp_path: Path) -> None:
    state = pann(tmp_path / "Cnn14_mAP=0.431.pth")
    model = tiny.model(tiny.config())
    before = {k: v.clone() for k, v in model.state_dict().items()}
    fill_audio(model, tmp_path / "Cnn14_mAP=0.431.pth")
    encoder = model.audio_encoder
    assert torch.equal(encoder.bn0.running_var, state["bn0.running_var"])
    assert torch.equal(encoder.blocks[2].conv2.weight, state["conv_block3.conv2.weight"])
    assert torch.equal(encoder.blocks[0].bn1.bias, state["conv_block1.bn1.bias"])
    assert torch.equal(encoder.fc1.weight, state["fc1.weight"])
    for name, value in model.state_dict().items():
        moved = not torch.equal(value, before[name])
        assert moved == name.startswith("audio_encoder."), name


def test_hts_ats_lightning_file_is_taken_whole(tmp_path: Path) -> None:
    state, encoder = htsat(tmp_path / "HTSAT.ckpt")
    mel = replace(tiny.MEL, n_mels=64)
    shape = tiny.config()
    shape = replace(
        shape, audio=replace(shape.audio, mel=mel), audio_encoder=AudioEncoderConfig(htsat=encoder)
    )
    model = ClapModel(shape)
    fill_audio(model, tmp_path / "HTSAT.ckpt")
    ours = dict(model.audio_encoder.state_dict())
    for name, value in ours.items():
        assert torch.equal(value, state[name]), name  # the same names behind the prefix
    unused = set(state) - set(ours)
    assert all(re.match(r"spectrogram|logmel|tscam|head|.*(index|mask)$", n) for n in unused)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda state: state.pop("fc1.bias"), r"missing 'audio_encoder\.fc1\.bias'"),
        (lambda state: state.update(extra=torch.zeros(1)), "unexpected 'extra'"),
        (lambda state: state.update({"fc1.bias": torch.zeros(3)}), r"has shape \(3,\)"),
        (lambda state: state["bn0.bias"].fill_(float("nan")), "not finite"),
        (lambda state: state.pop("conv_block1.conv1.weight"), "not of the architecture"),
    ],
)
def test_an_audio_tower_that_does_not_fit_is_refused(
    change: Callable[[dict[str, Tensor]], object], problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "cnn14.pth"
    state = pann(path)
    change(state)
    torch.save({"model": state}, path)
    with pytest.raises(ClapError, match=problem):
        fill_audio(ClapModel(tiny.config()), path)


def test_code_in_an_audio_tower_is_never_run(tmp_path: Path) -> None:
    path = tmp_path / "cnn14.pth"
    torch.save({"model": pann(path), "hook": nn.Linear(1, 1)}, path)
    with pytest.raises(ClapError, match="could run code when opened and was refused"):
        fill_audio(ClapModel(tiny.config()), path)
    with pytest.raises(ClapError, match="does not exist"):
        fill_audio(ClapModel(tiny.config()), tmp_path / "none.pth")


KINDS = {
    "bert": ("BertForPreTraining", {"token_type_ids": True}),
    "roberta": ("RobertaForMaskedLM", {}),
    "gpt2": ("GPT2LMHeadModel", {"pooling": "last"}),
}


def text_folder(kind: str, folder: Path) -> tuple[nn.Module, TextEncoderConfig]:
    """A small transformers model with a head and its tokenizer, and the config that asks for it."""
    import transformers

    name, changes = KINDS[kind]
    size = tiny.tokenizer().get_vocab_size()
    sizes = dict(tiny._GPT2 if kind == "gpt2" else tiny._ROBERTA)
    config = transformers.AutoConfig.for_model(kind, vocab_size=size, **sizes)
    torch.manual_seed(4)
    model = getattr(transformers, name)(config).eval()
    model.save_pretrained(folder)
    originals.tokenizer_folder(folder, "bert")
    wanted: dict[str, Any] = {"pooling": "mean", "max_tokens": tiny.TOKENS, "pad_id": 0, **changes}
    return model, TextEncoderConfig(kind, {}, **wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_text_tower_gives_transformers_states(kind: str, tmp_path: Path) -> None:
    theirs, wanted = text_folder(kind, tmp_path / "text")
    shape = replace(tiny.config(), text_encoder=wanted)
    made = replace(tinyrun.config(tmp_path), model=shape, text_init=str(tmp_path / "text"))
    model, tokenizer = start_model(Run(made, CPU))
    assert tokenizer.get_vocab() == tiny.tokenizer().get_vocab()
    batch = tiny.tokens(3, wanted)
    inside = getattr(theirs, theirs.base_model_prefix)
    with torch.no_grad():
        states = inside(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1).float()
        if kind == "gpt2":
            want = states[torch.arange(3), batch["attention_mask"].sum(1) - 1]
        else:
            want = (states * mask).sum(1) / mask.sum(1)
        assert (model.eval().text_encoder(**batch) - want).abs().max() < 1e-5
    # The sizes are in the model's config, so that a checkpoint of it can be built again.
    ClapModel(model.config).load_state_dict(model.state_dict())


def test_the_first_berts_names_are_read(tmp_path: Path) -> None:
    theirs, wanted = text_folder("bert", tmp_path)
    state = {
        re.sub(r"LayerNorm\.bias$", "LayerNorm.beta", re.sub(r"LayerNorm\.weight$",
        "LayerNorm.gamma", name)): torch.full_like(value, 0.5)
        for name, value in theirs.state_dict().items()
    }  # fmt: skip
    assert any(name.endswith("gamma") for name in state)
    (tmp_path / "model.safetensors").unlink()
    torch.save(state, tmp_path / "pytorch_model.bin")
    found = read_text(str(tmp_path), wanted).state
    norms = [name for name in found if "LayerNorm" in name]
    assert len(norms) == 6
    assert all(name.endswith(("weight", "bias")) for name in norms)


def test_a_text_tower_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    _, wanted = text_folder("roberta", tmp_path)
    source = str(tmp_path)
    for changes, problem in (
        ({"model_type": "bert"}, "is a roberta, but text_encoder.model_type is bert"),
        ({"max_tokens": 99}, "reads 19 tokens at most"),
        ({"pad_id": 1}, "pads with token 0, text_encoder.pad_id is 1"),
    ):
        with pytest.raises(ClapError, match=problem):
            read_text(source, replace(wanted, **changes))
    (tmp_path / "model.safetensors").write_bytes(b"no")
    with pytest.raises(ClapError, match="may be damaged"):
        read_text(source, wanted)


def test_both_towers_start_a_model(tmp_path: Path) -> None:
    _, wanted = text_folder("bert", tmp_path / "text")
    state = pann(tmp_path / "cnn14.pth")
    encoder = tiny.config().audio_encoder.cnn14
    assert isinstance(encoder, Cnn14Config)
    made = replace(
        tinyrun.config(tmp_path, loss="sigmoid"), text_init=str(tmp_path / "text"),
        audio_init=str(tmp_path / "cnn14.pth"), model=replace(tiny.config(), text_encoder=wanted),
    )  # fmt: skip
    model, _ = start_model(Run(made, CPU))
    assert torch.equal(model.audio_encoder.fc1.bias, state["fc1.bias"])
    assert model.scale().item() == pytest.approx(10.0)
