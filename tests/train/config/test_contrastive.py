"""Run configs: the shipped ones fit, and what does not fit is listed."""

from __future__ import annotations

from pathlib import Path

import pytest

from clap_export.model.clap import ClapModel
from clap_export.model.cnn14 import Cnn14Config
from clap_export.model.htsat import HtsatConfig
from runtime.errors import ClapError, SchemaError
from tests.kinds import kind_of
from tests.places import RECIPES
from train.config.contrastive import TrainConfig, load
from train.data.vocabulary import with_vocabulary
from train.zero_shot.task import read_candidates

# Recipes of distillation and of bridges have readers of their own.
RECIPES = [path for path in sorted((RECIPES).glob("*.toml")) if kind_of(path) == "run"]
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
    assert config.loop.batch_size % 8 == 0  # of a machine's usual number of GPUs
    if config.model is None or config.text_init is not None:
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


def test_the_papers_recipes_are_the_papers() -> None:
    """Elizalde et al. 2022, sections 2 and 3; Wu et al. 2023, section 4.1."""
    ours = {path.stem: load(path) for path in RECIPES}
    clap, laion = ours["clap2022"], ours["laion"]
    assert clap.model is not None
    assert laion.model is not None
    assert clap.model.audio_encoder.cnn14 == Cnn14Config()
    assert laion.model.audio_encoder.htsat == HtsatConfig()
    assert (clap.model.embedding_dim, laion.model.embedding_dim) == (1024, 512)
    for config, rate, seconds in ((clap, 44_100, 5), (laion, 48_000, 10)):
        assert config.model is not None
        assert config.model.audio.sample_rate == config.model.audio.mel.sample_rate == rate
        assert config.model.audio.window_samples == seconds * rate
        assert [x.kind for x in config.listings] == ["fsd50k", "clotho", "audiocaps", "macs"]
        assert config.loop.freeze == ()
    loop = clap.loop
    assert (loop.optimiser, loop.learning_rate, loop.epochs) == ("adam", 1e-3, 40)
    assert (loop.schedule, loop.plateau_factor, loop.plateau_patience) == ("plateau", 0.1, 10)
    loop = laion.loop
    assert (loop.schedule, loop.learning_rate, loop.epochs) == ("cosine", 1e-4, 45)
    assert (loop.betas, loop.eps, loop.weight_decay) == ((0.99, 0.9), 1e-8, 0.0)
    assert loop.warmup_epochs * loop.steps_per_epoch == pytest.approx(3200, rel=0.01)


def test_clap_minis_recipes_say_what_they_said() -> None:
    for path in RECIPES:
        if path.stem.startswith("clap-mini"):
            config = load(path)
            loop = config.loop
            # The tagger did not make permissive better: its weights have had none, nor bfloat16.
            apart = path.stem == "clap-mini-permissive"
            assert (config.tagger is None, loop.amp) == (apart, "off" if apart else "bf16")
            assert loop.freeze == (() if apart else ("text",))
            assert (loop.loss, loop.optimiser, loop.schedule) == ("softmax", "adamw", "cosine")
            assert (loop.clip_norm, loop.accumulate) == (5.0, 1)
            assert (loop.betas, loop.eps) == ((0.9, 0.999), 1e-8)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("batch_size = 0", "batch_size is 0, must be at least 1"),
        ("batch_size = 64\nbetas = [0.9]", "must be two numbers"),
        ("batch_size = 64\nplateau_factor = 1.0", "must be between 0 and 1"),
        ("batch_size = 64\ncompile = true\nrecompute = true", "do not go together"),
        ("batch_size = 64\nfreeze = ['ears']", "must be one of 'audio', 'text'"),
        ("batch_size = 64\nloss = 'hinge'", "must be one of 'softmax', 'sigmoid'"),
    ],
)
def test_options_that_make_no_sense_are_refused(change: str, problem: str, tmp_path: Path) -> None:
    text = MINI.read_text(encoding="utf-8").replace('freeze = ["text"]', "")
    before, after = text.split("[loop]")
    (tmp_path / "run.toml").write_text(before + "[loop]" + after.replace("batch_size = 64", change))
    with pytest.raises(SchemaError, match=problem):
        load(tmp_path / "run.toml")


@pytest.mark.parametrize(
    ("top", "loop", "problem"),
    [
        ("text_init = 'a'", "", r"one of 'text_init' and \[text\]"),
        ("tasks = []", "schedule = 'plateau'\nplateau_on = 'task'", "there are no"),
    ],
)
def test_tables_that_contradict_are_refused(
    top: str, loop: str, problem: str, tmp_path: Path
) -> None:
    text = MINI.read_text(encoding="utf-8").replace("[loop]", f"[loop]\n{loop}")
    if "tasks" in top:
        text = text[: text.index("[[tasks]]")] + text[text.index("[augment]") :]
    (tmp_path / "run.toml").write_text(f"{top}\n{text}", encoding="utf-8")
    with pytest.raises(SchemaError, match=problem):
        load(tmp_path / "run.toml")


def test_init_brings_both_towers(tmp_path: Path) -> None:
    text = f"extends = '{MINI.parent / 'clap-mini-all.toml'}'\naudio_init = 'a.pth'\n"
    (tmp_path / "run.toml").write_text(text, encoding="utf-8")
    with pytest.raises(SchemaError, match="'init' brings both towers"):
        load(tmp_path / "run.toml")


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
