"""Folders of weights: in shards, damaged, not downloaded, nested beyond reason."""

from __future__ import annotations

import json
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import ClapFeatureExtractor, ClapProcessor, PreTrainedTokenizerFast

from clap_export.checkpoints import load
from clap_export.checkpoints.families import hub_files
from runtime.errors import ClapError
from tests import tiny
from tests.clap_export.checkpoints.test_transformers import save


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("hf") / "clap")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "clap"))


def shard(folder: Path, *, pickled: bool = False) -> Path:
    """Cut a folder's weights in two; the path of the index."""
    whole = folder / "model.safetensors"
    state = load_file(whole)
    whole.unlink()
    names, kind = sorted(state), "bin" if pickled else "safetensors"
    stem = "pytorch_model" if pickled else "model"
    table: dict[str, str] = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"{stem}-{number:05}-of-00002.{kind}"
        held = {name: state[name] for name in part}
        if pickled:
            torch.save(held, folder / file)
        else:
            save_file(held, folder / file)
        table |= dict.fromkeys(part, file)
    index = folder / f"{stem}.{kind}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": table}))
    return index


@pytest.mark.parametrize("pickled", [True, False])
def test_shards_are_one_checkpoint(original: Path, folder: Path, pickled: bool) -> None:
    index = shard(folder, pickled=pickled)
    found, whole = load(folder), load(original)
    assert found.space_id() == whole.space_id()
    assert found.source.checkpoint == index.name
    assert len(found.source.sha256) == 64
    assert found.source.sha256 != whole.source.sha256


def edit_index(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "model.safetensors.index.json"
    raw = json.loads(path.read_text())
    change(raw)
    path.write_text(json.dumps(raw))


INDEX_FAULTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no map": (lambda raw: raw.pop("weight_map"), "has no 'weight_map'"),
    "a map of numbers": (lambda raw: raw["weight_map"].update(x=3), "has no 'weight_map'"),
    "a tensor too many": (
        lambda raw: raw["weight_map"].update(x="model-00001-of-00002.safetensors"),
        "'x' is not in model-00001-of-00002.safetensors",
    ),
    "a tensor not listed": (
        lambda raw: raw["weight_map"].pop("logit_scale_a"), "'logit_scale_a' is in model-.*not list"
    ),
    "a shard elsewhere": (lambda raw: raw["weight_map"].update(x="../x"), "outside its folder"),
    "a shard that is not there": (
        lambda raw: raw["weight_map"].update(x="model-3.safetensors"), "not there: model-3"
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", INDEX_FAULTS)
def test_shards_that_do_not_fit_their_index(folder: Path, fault: str) -> None:
    shard(folder)
    change, message = INDEX_FAULTS[fault]
    edit_index(folder, change)
    with pytest.raises(ClapError, match=message):
        load(folder)


def test_a_folder_of_transformers_5(original: Path, folder: Path) -> None:
    extractor = ClapFeatureExtractor.from_pretrained(folder)
    for name in ("preprocessor_config.json", "tokenizer.json"):
        (folder / name).unlink()
    words = PreTrainedTokenizerFast(tokenizer_object=tiny.tokenizer(), pad_token="[PAD]")
    ClapProcessor(feature_extractor=extractor, tokenizer=words).save_pretrained(folder)
    assert (folder / "processor_config.json").is_file()
    assert not (folder / "preprocessor_config.json").exists()
    assert load(folder).model.config == load(original).model.config


def test_the_hub_is_asked_for_all_that_a_loader_looks_at() -> None:
    wanted = set(hub_files())
    assert wanted >= {
        "config.json", "preprocessor_config.json", "processor_config.json", "vocab.txt",
        "model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors",
        "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin", "open_clip_config.json",
        "tokenizer.json", "vocab.json", "merges.txt",
    }  # fmt: skip


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:aaa\nsize 614431440\n"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "preprocessor_config.json"])
def test_a_git_lfs_pointer_is_called_one(folder: Path, name: str) -> None:
    (folder / name).write_bytes(LFS)
    with pytest.raises(ClapError, match=f"{name} is a git-lfs pointer.*git lfs pull"):
        load(folder)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".bin"])
def test_a_git_lfs_pointer_of_one_file(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"a{suffix}").write_bytes(LFS)
    with pytest.raises(ClapError, match="git lfs pull"):
        load(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "tokenizer.json"])
@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"a":' * 100_000, b"", b"null", b"[]", b"\xff", b"{", None]
)
def test_json_that_is_none(folder: Path, name: str, content: bytes | None) -> None:
    (folder / name).unlink()
    if content is None:
        (folder / name).mkdir()
        if name == "tokenizer.json":  # its vocabulary files are there too
            return
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(ClapError, match=r"clap"):
        load(folder)


def test_weights_that_were_not_downloaded_whole(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ClapError, match=r"model\.safetensors.*It may be damaged"):
        load(folder)


def native_with(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A native checkpoint whose config says something else than its tensors."""
    raw = tiny.save(path).read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    inner = json.loads(header["__metadata__"]["clap_export"])
    change(inner["config"])
    header["__metadata__"]["clap_export"] = json.dumps(inner)
    written = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(written)) + written + raw[8 + length :])
    return path


def text_option(**options: Any) -> Callable[[dict[str, Any]], object]:
    return lambda config: config["text_encoder"]["options"].update(options)


def mel(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda config: config["audio"]["mel"].update(values)


GREEDY: dict[str, Callable[[dict[str, Any]], object]] = {
    "a million layers": text_option(num_hidden_layers=1_000_000),
    "a vocabulary of 1e9": text_option(vocab_size=10**9),
    "a vocabulary of 2e6": text_option(vocab_size=2_000_000),
    "layers that are not there": text_option(num_hidden_layers=200),
    "negative layers": text_option(num_hidden_layers=-1),
    "layers as a text": text_option(num_hidden_layers="2"),
    "heads that do not divide": text_option(num_attention_heads=3),
    "an eps that is no number": text_option(layer_norm_eps="x"),
    "an unknown activation": text_option(hidden_act="evil"),
    "n_fft 1e9": mel(n_fft=10**9),
    "n_fft 0": mel(n_fft=0),
    "no hop": mel(hop_length=0),
    "400 digits": mel(f_max=10**400),
    "no rate": mel(sample_rate=0),
    "a wide space": lambda config: config.update(embedding_dim=60_000),
    "wide channels": lambda config: config["audio_encoder"]["cnn14"].update(channels=[60_000] * 3),
    "many blocks": lambda config: config["audio_encoder"]["cnn14"].update(channels=[8] * 10_000),
    "no mel bins": lambda config: config["audio_encoder"]["cnn14"].update(n_mels=0),
}


@pytest.mark.parametrize("fault", GREEDY)
def test_a_config_is_compared_before_memory_is_asked_for(fault: str, tmp_path: Path) -> None:
    path = native_with(tmp_path / "greedy.safetensors", GREEDY[fault])
    begin = time.process_time()
    with pytest.raises(ClapError, match=r"greedy\.safetensors|text_encoder\.options"):
        load(path)
    assert time.process_time() - begin < 20
