"""Run configs: the shipped ones fit, and what does not fit is listed."""

from __future__ import annotations

from pathlib import Path

import pytest

from clap_export.model.clap import ClapModel
from runtime.errors import ClapError, SchemaError
from train.config import TrainConfig, load, with_vocabulary
from train.evaluate import read_candidates

RECIPES = sorted((Path(__file__).parents[1] / "train" / "recipes").glob("*.toml"))
MINI = next(path for path in RECIPES if path.stem == "clap-mini")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_fits_itself(path: Path) -> None:
    config = load(path)
    assert isinstance(config, TrainConfig)
    assert config.listings
    for task in config.tasks:
        labels = read_candidates(task.candidates)
        assert len(labels) == len(set(labels)) > 1
    for template in config.templates:
        assert template.count("{}") == 1
    assert config.loop.text_from_epoch <= config.loop.epochs
    if config.model is None:
        return
    model = ClapModel(with_vocabulary(config.model, 100))
    embeddings = model.text_encoder.transformer.get_input_embeddings()
    assert embeddings.num_embeddings == 100
    options = config.model.text_encoder.options
    assert options["max_position_embeddings"] >= config.model.text_encoder.max_tokens
    assert config.model.audio.mel.f_max <= config.model.audio.mel.sample_rate / 2


def test_with_vocabulary_changes_nothing_else() -> None:
    model = load(MINI).model
    assert model is not None
    plain = with_vocabulary(model, 123).to_dict()
    assert plain["text_encoder"]["options"].pop("vocab_size") == 123
    assert plain == model.to_dict()
    assert "vocab_size" not in model.text_encoder.options


def test_problems_are_all_listed(tmp_path: Path) -> None:
    text = MINI.read_text(encoding="utf-8")
    text = text.replace("batch_size = 64", 'batchsize = 64\nema_decay = 0.9\n[loop.x]\ny = "z"')
    text = text.replace('device = "auto"', 'device = "tpu"').replace("seed = ", "sead = ")
    (tmp_path / "bad.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SchemaError) as caught:
        load(tmp_path / "bad.toml")
    for problem in (
        "bad.toml",
        "unknown key 'sead'",
        "missing key 'seed'",
        "'device' is 'tpu', must be one of 'auto', 'cpu', 'cuda'",
        "unknown key 'loop.batchsize'",
        "unknown key 'loop.ema_decay'",
        "unknown key 'loop.x'",
        "missing key 'loop.batch_size'",
    ):
        assert problem in str(caught.value)


def test_what_toml_cannot_say_is_none(tmp_path: Path) -> None:
    text = MINI.read_text(encoding="utf-8").replace("threads = 2\n", "")
    (tmp_path / "run.toml").write_text(text, encoding="utf-8")
    config = load(tmp_path / "run.toml")
    assert config.threads is None
    assert config.init is None
    assert config.model is not None
    assert config.model.calibration is None


def test_a_run_starts_a_model_or_goes_on_from_one(tmp_path: Path) -> None:
    text = MINI.read_text(encoding="utf-8")
    without = text[: text.index("[model]")] + text[text.index("[text]") :]
    for changed in (f'init = "a.pt"\n{text}', without):
        (tmp_path / "run.toml").write_text(changed, encoding="utf-8")
        with pytest.raises(SchemaError, match=r"one of 'init' and \[model\]"):
            load(tmp_path / "run.toml")


def test_files_that_are_no_toml(tmp_path: Path) -> None:
    with pytest.raises(ClapError, match=r"missing\.toml cannot be read"):
        load(tmp_path / "missing.toml")
    with pytest.raises(ClapError, match="cannot be read"):
        load(tmp_path)
    for content in (b"a = ", b"\xff\xfe"):
        (tmp_path / "bad.toml").write_bytes(content)
        with pytest.raises(ClapError, match=r"bad\.toml is not TOML"):
            load(tmp_path / "bad.toml")
