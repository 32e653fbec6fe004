"""The project's own checkpoint files: what was saved comes back bit for bit, or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from clap_export.checkpoints import Checkpoint, load, native
from runtime.errors import ClapError, SchemaError
from runtime.manifest import Calibration, Source
from tests import tiny

SUFFIXES = (".safetensors", ".pt")


def parts(suffix: str, path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Header and state dict of a saved checkpoint, read without the code under test."""
    if suffix == ".pt":
        data = torch.load(path, weights_only=True)
        state = data.pop("state_dict")
        return data, state
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    metadata = json.loads(raw[8 : 8 + length])["__metadata__"]
    assert list(metadata) == ["clap_export"]
    return json.loads(metadata["clap_export"]), load_file(path)


def write(path: Path, header: dict[str, Any], state: dict[str, torch.Tensor]) -> Path:
    """A checkpoint from its parts, whether or not they fit."""
    if path.suffix == ".pt":
        torch.save({**header, "state_dict": state}, path)
    else:
        save_file(state, path, metadata={"clap_export": json.dumps(header)})
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("audio", "text"), [("cnn14", "bert-mean"), ("htsat", "gpt2-last"), ("compact", "roberta-mean")]
)
def test_round_trip_is_bit_equal(suffix: str, audio: str, text: str, tmp_path: Path) -> None:
    config = tiny.config(audio, text, calibration=Calibration(11.0, -4.0))
    model, tokenizer = tiny.model(config), tiny.tokenizer().to_str()
    path = tmp_path / f"m{suffix}"
    native.save(path, model.train(), tokenizer)
    found = load(path)
    assert isinstance(found, Checkpoint)
    assert found.model.config == config
    assert found.tokenizer == tokenizer
    assert not any(module.training for module in found.model.modules())
    want, got = model.state_dict(), found.model.state_dict()
    assert list(got) == list(want)
    for name, value in want.items():
        assert got[name].dtype == value.dtype
        assert torch.equal(got[name], value), name
    with torch.no_grad():
        waveform = tiny.waveforms(2)
        assert torch.equal(found.model.embed_audio(waveform), model.eval().embed_audio(waveform))
    assert found.source == Source(
        "native", path.name, hashlib.sha256(path.read_bytes()).hexdigest(), "MIT"
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_file_holds_what_the_format_says(suffix: str, tmp_path: Path) -> None:
    path = tiny.save(tmp_path / f"m{suffix}")
    header, state = parts(suffix, path)
    assert sorted(header) == ["config", "format", "tokenizer", "version"]
    assert header["format"] == "clap-export-checkpoint"
    assert header["version"] == 1
    assert header["config"] == tiny.config().to_dict()
    assert Tokenizer.from_str(header["tokenizer"]).encode("rain").tokens == [
        *("[CLS]", "rain", "[SEP]")
    ]
    assert state.keys() == tiny.model(tiny.config()).state_dict().keys()


def test_the_content_decides_which_format_a_file_is(tmp_path: Path) -> None:
    for suffix, other in (SUFFIXES, SUFFIXES[::-1]):
        path = tiny.save(tmp_path / f"m{suffix}").rename(tmp_path / f"renamed{other}")
        assert load(path).model.config == tiny.config()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_saving_replaces_and_leaves_no_part(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"m{suffix}"
    tiny.save(path, seed=0)
    tiny.save(path, seed=1)
    want = tiny.model(tiny.config(), seed=1).logit_scale
    assert torch.equal(load(path).model.state_dict()["logit_scale"], want)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failed_save_keeps_the_old_file_and_leaves_no_part(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny.save(tmp_path / f"m{suffix}")
    before = path.read_bytes()

    write = Path.write_bytes

    def fail(part: Path, _data: bytes) -> None:
        write(part, b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(ClapError, match=rf"{path.name}.*disk full"):
        tiny.save(path, seed=1)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_all_misfits_are_listed_at_once(suffix: str, tmp_path: Path) -> None:
    header, state = parts(suffix, tiny.save(tmp_path / f"m{suffix}"))
    del state["logit_scale"]
    del state["mel.window"]
    state["classifier.weight"] = torch.zeros(3)
    state["audio_encoder.fc1.bias"] = torch.zeros(21)
    state["audio_encoder.fc1.weight"][0, 0] = math.nan
    state["text_projection.linear1.bias"][0] = math.inf
    with pytest.raises(ClapError) as caught:
        load(write(tmp_path / f"bad{suffix}", header, state))
    for problem in (
        "missing 'logit_scale'",
        "missing 'mel.window'",
        "unexpected 'classifier.weight'",
        "'audio_encoder.fc1.bias' has shape (21,), the config asks for (20,)",
        "'audio_encoder.fc1.weight' has values that are not finite",
        "'text_projection.linear1.bias' has values that are not finite",
    ):
        assert problem in str(caught.value)


def test_a_state_entry_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    header, state = parts(".pt", tiny.save(tmp_path / "m.pt"))
    state["note"] = "hello"
    state["logit_scale"] = 2.0
    with pytest.raises(ClapError, match=r"'logit_scale' is a float.*unexpected 'note'"):
        load(write(tmp_path / "bad.pt", header, state))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_another_version_is_named(suffix: str, tmp_path: Path) -> None:
    header, state = parts(suffix, tiny.save(tmp_path / f"m{suffix}"))
    with pytest.raises(ClapError, match="version 2; this clap-export reads 1"):
        load(write(tmp_path / f"new{suffix}", {**header, "version": 2}, state))
    del header["version"]
    with pytest.raises(ClapError, match="version None"):
        load(write(tmp_path / f"old{suffix}", header, state))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_header_keys_missing_and_unknown_are_listed(suffix: str, tmp_path: Path) -> None:
    header, state = parts(suffix, tiny.save(tmp_path / f"m{suffix}"))
    del header["tokenizer"]
    header["optimiser"] = 1
    with pytest.raises(ClapError, match=r"missing: \['tokenizer'\]; unknown: \['optimiser'\]"):
        load(write(tmp_path / f"bad{suffix}", header, state))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_tokenizer_that_is_none_is_refused(suffix: str, tmp_path: Path) -> None:
    header, state = parts(suffix, tiny.save(tmp_path / f"m{suffix}"))
    for broken in ({"model": {}}, "not a tokenizer", '{"version": "1.0"}'):
        with pytest.raises(ClapError, match="tokenizer"):
            load(write(tmp_path / f"bad{suffix}", {**header, "tokenizer": broken}, state))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_config_that_does_not_fit_is_refused_with_the_file_named(
    suffix: str, tmp_path: Path
) -> None:
    header, state = parts(suffix, tiny.save(tmp_path / f"m{suffix}"))
    header["config"]["embeding_dim"] = header["config"].pop("embedding_dim")
    with pytest.raises(SchemaError) as caught:
        load(write(tmp_path / f"bad{suffix}", header, state))
    assert str(tmp_path / f"bad{suffix}") in str(caught.value)
    assert "unknown key 'embeding_dim'" in str(caught.value)
    assert "missing key 'embedding_dim'" in str(caught.value)


def test_space_is_the_same_in_both_formats_and_after_loading(tmp_path: Path) -> None:
    spaces = {load(tiny.save(tmp_path / f"m{suffix}")).space_id() for suffix in SUFFIXES}
    assert spaces == {tiny.checkpoint().space_id()}
    assert len(spaces.pop()) == 32


def change_config(**changes: Any) -> Callable[[Checkpoint], Checkpoint]:
    def change(given: Checkpoint) -> Checkpoint:
        given.model.config = dataclasses.replace(given.model.config, **changes)
        return given

    return change


def change_tensor(name: str, delta: float = 0.0) -> Callable[[Checkpoint], Checkpoint]:
    def change(given: Checkpoint) -> Checkpoint:
        value = given.model.state_dict()[name].reshape(-1)
        value[-1] = value[-1] + delta if delta else torch.nextafter(value[-1], torch.tensor(9e9))
        return given

    return change


AUDIO = tiny.config().audio
SAME = {
    "name": change_config(name="other"),
    "licence": change_config(licence="proprietary"),
    "default_template": change_config(default_template="{}"),
    "calibration": change_config(calibration=Calibration(1.0, 2.0)),
    "logit_scale": change_tensor("logit_scale", 0.5),
    "source": lambda given: dataclasses.replace(given, source=Source("a", "b", "c", "d")),
}
OTHER = {
    "weight": change_tensor("audio_encoder.fc1.weight"),  # one number, by its last bit
    "text weight": change_tensor("text_encoder.transformer.embeddings.word_embeddings.weight"),
    "statistic": change_tensor("audio_encoder.bn0.running_var"),
    "filterbank": change_tensor("mel.filterbank"),
    "tokenizer": lambda given: dataclasses.replace(given, tokenizer=given.tokenizer + " "),
    "mel": change_config(
        audio=dataclasses.replace(AUDIO, mel=dataclasses.replace(tiny.MEL, amin=1e-9))
    ),
    "fill": change_config(audio=dataclasses.replace(AUDIO, fill="pad")),
    "suffix": change_config(
        text_encoder=dataclasses.replace(tiny.config().text_encoder, suffix=" ")
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_space_stays_when_no_embedding_moves(name: str) -> None:
    assert SAME[name](tiny.checkpoint()).space_id() == tiny.checkpoint().space_id()


@pytest.mark.parametrize("name", OTHER)
def test_space_changes_with_what_defines_it(name: str) -> None:
    assert OTHER[name](tiny.checkpoint()).space_id() != tiny.checkpoint().space_id()
