"""Places in a run have numbers of their own, and nobody seeds a generator by another rule."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.places import ROOT
from train.machine.random_streams import generator, seed_torch, seed_weights

HOME = ROOT / "train" / "machine" / "random_streams.py"
SOURCES = sorted(path for path in (ROOT / "train").rglob("*.py") if path != HOME)
# What makes or seeds a generator. ``random.Random`` of one whole number is left: it takes no place.
SEEDING = {
    "default_rng", "SeedSequence", "RandomState", "Generator", "PCG64", "MT19937", "Philox",
    "manual_seed", "manual_seed_all", "fork_rng", "set_rng_state",
}  # fmt: skip


def calls(tree: ast.AST) -> set[str]:
    """Names of whatever is called, without the modules before them."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):
                found.add(node.func.attr)
            elif isinstance(node.func, ast.Name):
                found.add(node.func.id)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_generators_are_seeded_in_one_place_alone(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not calls(tree) & SEEDING
    for node in ast.walk(tree):  # np.random.uniform() would draw from a stream that all share
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            shared = ast.unparse(node.func.value) in ("np.random", "numpy.random", "random")
            assert not shared or node.func.attr == "Random"


def test_the_search_finds_what_it_looks_for() -> None:
    text = "def f():\n    return np.random.default_rng((1, 2)), torch.manual_seed(0)"
    assert calls(ast.parse(text)) & SEEDING == {"default_rng", "manual_seed"}
    assert calls(ast.parse(HOME.read_text(encoding="utf-8"))) & SEEDING


def test_every_place_has_a_stream_of_its_own() -> None:
    """As plain tuples, (7, 1, 2) and (7, 1, 2, 0) would share one: numpy fills up with zeros."""
    parts = (0, 1, 2**32 - 1, "audio", "text")
    places = [
        (seed, *place)
        for seed in (0, 7)
        for length in range(4)
        for place in itertools.product(parts, repeat=length)
    ]
    first = {generator(*place).bytes(16) for place in places}
    assert len(first) == len(places) == 2 * (1 + 5 + 25 + 125)
    shared = [np.random.default_rng(seeds).bytes(16) for seeds in ((7, 1, 2), (7, 1, 2, 0))]
    assert shared[0] == shared[1]  # why the rule is needed


@pytest.mark.parametrize("part", [-1, 2**32])
def test_a_number_that_would_be_two_is_refused(part: int) -> None:
    with pytest.raises(ValueError, match="is no place"):
        generator(0, 1, part)


def test_a_place_gives_the_same_numbers_every_time() -> None:
    assert generator(3, 1, "mix").random(5).tolist() == generator(3, 1, "mix").random(5).tolist()
    drawn = []
    for seed in (lambda: seed_torch(3, 1, "audio"), lambda: seed_torch(3, 1, "audio"),
                 lambda: seed_torch(3, 1, "audio", 0), lambda: seed_weights(3)):  # fmt: skip
        seed()
        drawn.append(torch.rand(4).tolist())
    assert drawn[0] == drawn[1]
    assert len({tuple(numbers) for numbers in drawn}) == 3
