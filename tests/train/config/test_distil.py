"""Configs of distillation: the shipped one fits, and what does not fit is said in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from clap_export.model.clap import build_audio_encoder
from runtime.errors import ClapError, SchemaError
from tests.places import RECIPES
from train.config.data import TextSource
from train.config.distil import AudioLessonConfig, DistilConfig, TextLessonConfig, load

RECIPE = RECIPES / "clap-mini-half.toml"


def changed(tmp_path: Path, old: str, new: str) -> DistilConfig:
    text = RECIPE.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "run.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return load(path)


def test_recipe_fits_itself() -> None:
    config = load(RECIPE)
    assert config.text == "teacher"
    assert config.texts is None
    assert config.student.embedding_dim == 384
    encoder = build_audio_encoder(config.student.audio_encoder)
    count = sum(p.numel() for p in encoder.parameters()) + 384 * (encoder.width + 1)
    assert 0.38e6 < count < 0.4e6


def test_a_label_of_the_held_out_folds_is_nowhere_learned() -> None:
    mini = RECIPE.with_name("clap-mini.toml").read_text(encoding="utf-8")
    for listing in load(RECIPE).audio.listings:
        assert listing.exclude
        for column, values in listing.exclude.items():
            assert f'{column} = ["{values[0]}"]' in mini


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 2208", "sead = 1", "unknown key 'sead'; missing key 'seed'"),
        ("seed = 2208", "seed = -1", "seed is -1, must be at least 0"),
        (
            'text = "teacher"',
            'text = "none"',
            "'text' is 'none', must be one of 'teacher'",
        ),
        (
            'text = "teacher"',
            'text = "distil"',
            r"needs \[texts\], \[student\.text_encoder\], \[student\.text_projection\]",
        ),
        (
            "[audio]",
            '[student.text_projection]\nkind = "linear"\n[audio]',
            r"keeps the teacher's text tower: leave out \[student\.text_projection\]",
        ),
        ("epochs = 16", "epochs = 0", "'audio': epochs is 0, must be at least 1"),
        ("batch_size = 64", "batch_size = 1", "batch_size is 1, must be at least 2"),
        ("epochs = 16", f"epochs = {2**70}", "epochs is .*, must be at least 1 and at most"),
        ("seed = 2208", f"seed = {2**70}", "must be at least 0 and below 9"),
        ("threads = 2", "threads = 0", "threads is 0, must be at least 1"),
        ("n_mels = 64\nwidth", "n_mels = 32\nwidth", "has 64 mel bins, the audio encoder 32"),
        (
            "int16_round_trip = false",
            'int16_round_trip = false\nlong_clips = "fusion"',
            "cannot learn feature fusion",
        ),
        ("[teacher]", '[teacher]\nfamily = "gpt"', "'teacher.family' is 'gpt', must be one of"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(SchemaError, match=message) as caught:
        changed(tmp_path, old, new)
    assert "\n" not in str(caught.value)


def test_nothing_to_listen_to_is_refused(tmp_path: Path) -> None:
    text = RECIPE.read_text(encoding="utf-8")
    first, last = text.index("[[audio.listings]]"), text.index("[augment]")
    (tmp_path / "run.toml").write_text(text[:first] + text[last:], encoding="utf-8")
    with pytest.raises(SchemaError, match="give 'listings', 'files' or both"):
        load(tmp_path / "run.toml")


def test_files_that_are_no_toml(tmp_path: Path) -> None:
    with pytest.raises(ClapError, match=r"missing\.toml cannot be read"):
        load(tmp_path / "missing.toml")
    for content in (b"a = ", b"\xff\xfe"):
        (tmp_path / "bad.toml").write_bytes(content)
        with pytest.raises(ClapError, match=r"bad\.toml is not TOML"):
            load(tmp_path / "bad.toml")


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_rates_that_are_none(rate: float) -> None:
    with pytest.raises(ValueError, match=r"learning_rate is .*, must be above 0"):
        AudioLessonConfig(1, 2, rate, files=("a",))


def test_texts_need_a_source() -> None:
    with pytest.raises(ValueError, match="there is nothing to read"):
        TextLessonConfig((), 1, 2, 1e-3)
    with pytest.raises(ValueError, match="spans is -1"):
        TextLessonConfig((TextSource("a", ("b",)),), 1, 2, 1e-3, spans=-1)
