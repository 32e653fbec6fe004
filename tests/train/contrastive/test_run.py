"""A whole run from its config: the stages, and what is kept of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from clap_export.checkpoints import load
from runtime.errors import ClapError
from tests import tiny
from tests.tiny import run as tinyrun
from train.config.contrastive import TrainConfig
from train.config.data import DataConfig, TextSource
from train.config.teaching import TextConfig
from train.contrastive import start as module
from train.contrastive.run import run
from train.contrastive.start import start_model
from train.machine.device import pick_device
from train.machine.run import Run

CPU = torch.device("cpu")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    """From the text stage to two epochs."""
    made = tinyrun.config(tmp_path, epochs=2, steps_per_epoch=2, text_from_epoch=1)
    source = TextSource(made.listings[0].path, ("caption",))
    text = TextConfig("t", 60, (source,), 40, 1, 8, 1e-3)
    encoder = made.model.text_encoder
    options = {k: v for k, v in encoder.options.items() if k != "vocab_size"}
    model = replace(made.model, text_encoder=replace(encoder, options=options))
    return replace(made, text=text, model=model)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A teacher that gives random vectors; the texts that it was asked for."""
    calls: list[list[str]] = []

    def teacher(_name: str, texts: list[str], _cache: Path) -> np.ndarray:
        calls.append(list(texts))
        vectors = np.random.default_rng(0).standard_normal((len(texts), tiny.DIM))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)

    monkeypatch.setattr(module, "teacher_embeddings", teacher)
    return calls


def test_run_makes_a_checkpoint_and_keeps_its_stages(
    config: TrainConfig, asked: list[list[str]]
) -> None:
    path = run(config)
    found = load(path)
    size = Tokenizer.from_str(found.tokenizer).get_vocab_size()
    assert found.model.config.text_encoder.options["vocab_size"] == size <= 60
    assert found.model.config.audio == config.model.audio
    (texts,) = asked
    assert len(texts) == len(set(texts))
    for text in (*tinyrun.CAPTIONS.values(), *tinyrun.LABELS, "the sound of clicks"):
        assert text in texts
    # Again: nothing is learned anew, and the tokenizer is the one that was kept.
    bits = path.read_bytes()
    assert run(config) == path
    assert path.read_bytes() == bits
    assert len(asked) == 1
    text_stage = load(config.folder / "text.safetensors")
    assert text_stage.tokenizer == found.tokenizer


def test_run_is_the_same_again_elsewhere(
    config: TrainConfig, asked: list[list[str]], tmp_path: Path
) -> None:
    spaces = {load(run(replace(config, out=str(tmp_path / name)))).space_id() for name in "ab"}
    assert len(spaces) == 1
    assert asked[0] == asked[1]


def test_text_stage_gives_its_towers_and_fresh_weights_the_rest(
    config: TrainConfig, asked: list[list[str]]
) -> None:
    config.folder.mkdir()
    torch.manual_seed(1)
    first, _ = start_model(Run(config, CPU))
    again, _ = start_model(Run(config, CPU))
    assert len(asked) == 1
    one, two = first.state_dict(), again.state_dict()
    for name in one:
        if name.startswith(("text_encoder.", "text_projection.")):
            assert torch.equal(one[name], two[name]), name
    assert not torch.equal(one["audio_encoder.fc1.weight"], two["audio_encoder.fc1.weight"])


def test_init_takes_every_weight(tmp_path: Path) -> None:
    path = tiny.save(tmp_path / "start.safetensors")
    config = replace(tinyrun.config(tmp_path), init=str(path), model=None)
    model, tokenizer = start_model(Run(config, CPU))
    want = tiny.model(tiny.config()).state_dict()
    assert all(torch.equal(value, want[name]) for name, value in model.state_dict().items())
    assert tokenizer.to_str() == tiny.tokenizer().to_str()


def test_going_on_without_tasks_keeps_the_calibration(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    start = tiny.save(tmp_path / "start.safetensors")
    first = run(replace(tinyrun.config(tmp_path / "a"), init=str(start), model=None))
    calibration = load(first).model.config.calibration
    assert calibration is not None
    config = replace(tinyrun.config(tmp_path / "b"), init=str(first), model=None, tasks=())
    second = load(run(config))
    assert second.model.config.calibration == calibration
    assert second.space_id() != load(first).space_id()


def test_a_text_stage_of_another_architecture_is_refused(
    config: TrainConfig, tmp_path: Path
) -> None:
    config.folder.mkdir()
    tiny.save(config.folder / "text.safetensors", text="bert-pooler")
    assert config.model is not None
    wider = replace(config.model.text_encoder, options={
        **config.model.text_encoder.options, "hidden_size": 64})  # fmt: skip
    config = replace(config, model=replace(config.model, text_encoder=wider))
    with pytest.raises(ClapError, match=r"text\.safetensors does not fit the config's model"):
        start_model(Run(config, CPU))


def test_neither_init_nor_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClapError, match=r"neither 'init' nor a \[text\] table"):
        start_model(Run(tinyrun.config(tmp_path), CPU))


@pytest.mark.parametrize(("memory_gb", "held"), [(None, True), (1.0, True), (0.0, False)])
def test_clips_are_held_as_the_config_allows(
    memory_gb: float | None, held: bool, tmp_path: Path
) -> None:
    start = tiny.save(tmp_path / "start.safetensors")
    base = tinyrun.config(tmp_path, epochs=1, steps_per_epoch=1)
    (tmp_path / "tone0.wav").write_bytes(b"not audio")  # one of twelve
    data = DataConfig(0.1, memory_gb)
    config = replace(base, init=str(start), model=None, data=data)
    run(config)
    report = json.loads((config.folder / "data.json").read_text())
    assert report["held_in_memory"] is held
    assert report["bad_share_allowed"] == 0.1
    with pytest.raises(ClapError, match=r"more than the share of 0\.05 that may be bad"):
        run(replace(config, data=DataConfig()))


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, picks in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert pick_device("auto") == torch.device(picks)
        assert pick_device("cpu") == CPU
    with pytest.raises(ClapError, match="torch finds no CUDA device"):
        pick_device("cuda")
