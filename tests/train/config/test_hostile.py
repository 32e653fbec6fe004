"""Configs that damage, mistakes or malice made: one sentence each, and never another exception."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from runtime.errors import ClapError
from tests.places import RECIPES
from train.config.contrastive import TrainConfig, load
from train.config.listings import listings_of
from train.config.toml_file import read_config, read_toml

MINI = (RECIPES / "clap-mini.toml").read_text(encoding="utf-8")
DEEP = 100_000
QUOTED = '."a"'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"a = {'[' * DEEP}", "nested too deeply"),
        (f"a = {'{a=' * DEEP}", "nested too deeply"),
        (f"device{'.a' * DEEP} = 1", "nested too deeply"),
        (f"a = {{b{'.c' * DEEP} = 1}}", "nested too deeply"),
        (f"a{QUOTED * DEEP} = 1", "nested too deeply"),
        ("#" * 2**21, "2097152 characters, at most 1048576"),
        ("a = 1" + "0" * 5000, "not TOML: Exceeds the limit"),
        ("seed = nan", "'seed' must be int, is float"),
        ("[[listings]]\nweight = -inf", r"'listings\[0\]\.weight' must be finite, is -inf"),
        ("a = '\0'", "not TOML"),
        ("seed = 1979-05-27", "'seed' must be int, is date"),
        ('extends = "\\u0000"', "cannot be read"),
        (f'extends = "{"x" * 300}"', "cannot be read"),
        ('extends = "."', "cannot be read"),
    ],
)
def test_each_ends_in_a_sentence(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ClapError, match=message):
        read_config(TrainConfig, path)


def test_a_circle_of_links_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.toml").symlink_to(tmp_path / "a.toml")
    with pytest.raises(ClapError, match="cannot be read"):
        read_toml(tmp_path / "a.toml")


def test_the_mark_of_an_editor_is_no_part_of_a_config(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(MINI, encoding="utf-8-sig")
    assert load(tmp_path / "run.toml") == load(RECIPES / "clap-mini.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = ", "seed = -1 #", "seed is -1, must be at least 0"),
        ("threads = ", "threads = 0 #", "threads is 0, must be at least 1"),
        ("mix = ", "mix = 1.5 #", "mix is 1.5, must be at least 0 and at most 1"),
        ("speed = ", "speed = 1.0 #", "speed is 1.0, must be at least 0 and below 1"),
        ("gain_db = ", "gain_db = 1e9 #", "gain_db is .*, must be at least 0 and at most 120"),
        ("ema = ", "ema = 1.0 #", "ema is 1.0, must be at least 0 and below 1"),
        ("learning_rate = ", "learning_rate = -1.0 #", "learning_rate is -1.0, must be at least 0"),
        ("batch_size = ", f"batch_size = {10**30} #", "must be at least 1 and at most 2"),
        ("text_negatives = ", "text_negatives = -1 #", "must be at least 0"),
        ("templates = [", 'templates = ["no place", ', "must hold exactly one {}"),
    ],
)
def test_numbers_and_templates_that_mean_nothing(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    assert old in MINI
    (tmp_path / "run.toml").write_text(MINI.replace(f"\n{old}", f"\n{new}"), encoding="utf-8")
    with pytest.raises(ClapError, match=message):
        load(tmp_path / "run.toml")


@pytest.mark.parametrize(
    "content",
    ["tasks = 3", "tasks = [1, 2]", "tasks = [{name = 'a'}]", "listings = 'a'", "listings = [[]]"],
)
def test_listings_of_another_shape(content: str, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(content, encoding="utf-8")
    with pytest.raises(ClapError, match=r"run\.toml"):
        listings_of(tmp_path / "run.toml", tasks=True)


def test_mutated_recipes_load_or_say_why_not(tmp_path: Path) -> None:
    """Bytes changed, cut out, doubled and swapped; a thousand files, no other exception."""
    draw = random.Random(0)
    original, path = MINI.encode(), tmp_path / "run.toml"
    refused = 0
    for _ in range(1000):
        data = bytearray(original)
        for _ in range(draw.randint(1, 6)):
            at, kind = draw.randrange(len(data)), draw.randrange(4)
            if kind == 0:
                data[at] = draw.randrange(256)
            elif kind == 1:
                del data[at : at + draw.randint(1, 40)]
            elif kind == 2:
                data[at:at] = data[at : at + draw.randint(1, 40)]
            else:
                data[at:at] = draw.choice(
                    (b"[", b"]", b'"', b"\0", b"\xff", b"-", b"e9", b"{}", b"\n")
                )
        path.write_bytes(data)
        try:
            load(path)
        except ClapError:
            refused += 1
    assert refused > 300


def test_every_value_that_does_not_fit_is_named_at_once(tmp_path: Path) -> None:
    text = MINI
    for old, new in (
        ("epochs = ", "epochs = 0 #"), ("warmup_epochs = ", "warmup_epochs = 1000 #"),
        ("ema = ", "ema = 2 #"), ("mix = ", "mix = 7 #"), ("speed = ", "speed = 1 #"),
        ("learning_rate = ", "learning_rate = -1 #"),
    ):  # fmt: skip
        text = text.replace(f"\n{old}", f"\n{new}")
    (tmp_path / "run.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ClapError) as caught:
        load(tmp_path / "run.toml")
    for problem in (
        "epochs is 0", "warmup_epochs is 1000, longer than the run", "ema is 2", "mix is 7",
        "speed is 1", "learning_rate is -1",
    ):  # fmt: skip
        assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("templates=[]",), "templates: no templates were given"),
        (("loop.warmup_epochs=1000",), "longer than the run"),
        (("loop.patience=2",), "'patience' waits for a gain"),
        (("loop.best_by=nothing",), "must be one of loss, "),
        (("loop.sampling=turns", "listings.0.weight=2"), "'turns', in which every clip counts"),
        (("listings=[]",), "there are no"),
        (("listings.0.weight=0",), "weight is 0"),
        (("listings.0.weight=-1",), "weight is -1"),
        (("tasks.9.name=a",), "there is no '9' in a list of"),
        (("seed.a=1",), "no table"),
        (("seed",), "give key=value"),
        (("=3",), "give key=value"),
        (("seed=", "sead=1"), "'seed' must be int, is str; |unknown key 'sead'"),
    ],
)
def test_changes_that_do_not_fit(changes: tuple[str, ...], message: str) -> None:
    with pytest.raises(ClapError, match=message):
        load(RECIPES / "clap-mini.toml", changes)


def test_changes_are_laid_over_the_file() -> None:
    plain = load(RECIPES / "clap-mini.toml")
    changed = load(
        RECIPES / "clap-mini.toml",
        ("loop.epochs=70", 'out="elsewhere"', "tasks.0.name=birds", "augment.mix=0.25"),
    )
    assert (changed.loop.epochs, changed.out, changed.augment.mix) == (70, "elsewhere", 0.25)
    assert changed.tasks[0].name == "birds"
    assert changed.tasks[0].listing == plain.tasks[0].listing
    assert load(RECIPES / "clap-mini.toml", ("out=un quoted",)).out == "un quoted"
