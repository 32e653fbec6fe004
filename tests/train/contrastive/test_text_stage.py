"""Text distillation on a target that a tiny tower can learn, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from clap_export.model.clap import ClapModel
from runtime.errors import ClapError
from tests import tiny
from train.config.teaching import TextConfig
from train.contrastive.text_stage import learn, teacher_embeddings

WORDS = ["dog", "rain", "bell", "wind", "sea", "siren"]
CPU = torch.device("cpu")


def sentences() -> tuple[list[str], np.ndarray]:
    """Texts of up to three words, and the mean of fixed vectors of their words, unit norm."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((len(WORDS), tiny.DIM))
    texts, targets = [], []
    for _ in range(200):
        picked = rng.choice(len(WORDS), rng.integers(1, 4), replace=False)
        texts.append(" ".join(WORDS[i] for i in picked))
        total = vectors[picked].sum(axis=0)
        targets.append(total / np.linalg.norm(total))
    return texts, np.array(targets, np.float16)


def config(**changes) -> TextConfig:
    options = {"epochs": 15, "batch_size": 16, "learning_rate": 3e-3, **changes}
    return TextConfig(teacher="t", vocabulary=90, sources=(), spans=0, **options)


def held_out_cosine(model: ClapModel, texts: list[str], target: np.ndarray) -> float:
    """Mean cosine of every 50th text, one at a time."""
    tokenizer = tiny.tokenizer()
    cosines = []
    for text, want in list(zip(texts, target, strict=True))[::50]:
        ids = torch.tensor([tokenizer.encode(text).ids])
        ids = ids[:, : int((ids != 0).sum())]
        with torch.no_grad():
            out = model.embed_text(ids, torch.ones_like(ids), torch.zeros_like(ids))[0]
        cosines.append(float(out.double().numpy() @ want.astype(np.float64)))
    return float(np.mean(cosines))


def test_learns_the_teachers_space_and_leaves_the_audio_side_alone() -> None:
    torch.manual_seed(0)
    model = ClapModel(tiny.config()).eval()  # as training begins
    texts, target = sentences()
    before = held_out_cosine(model, texts, target)
    audio = {k: v.clone() for k, v in model.state_dict().items() if k.startswith("audio")}
    torch.manual_seed(0)
    found = learn(model, tiny.tokenizer(), texts, target, config(), CPU)
    assert before < 0.5
    assert found > 0.9
    assert found == pytest.approx(held_out_cosine(model.eval(), texts, target), abs=1e-3)
    state = model.state_dict()
    assert all(torch.equal(state[k], v) for k, v in audio.items() if "num_batches" not in k)


def test_is_the_same_again_with_the_same_seed() -> None:
    texts, target = sentences()
    results = []
    for seed in (1, 1, 2):
        model = tiny.model(tiny.config())
        torch.manual_seed(seed)
        learn(model, tiny.tokenizer(), texts, target, config(epochs=1), CPU)
        results.append(model.text_projection.linear1.weight.detach().clone())
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_another_dimension_is_refused() -> None:
    texts, target = sentences()
    with pytest.raises(ClapError, match=r"gives 8 dimensions.*embedding_dim is 12; set it to 8"):
        learn(tiny.model(tiny.config()), tiny.tokenizer(), texts, target[:, :8], config(), CPU)


def test_fewer_texts_than_a_batch_are_refused() -> None:
    texts, target = sentences()
    with pytest.raises(ClapError, match=r"the batch_size for texts is 500, .* only 196 texts"):
        learn(
            tiny.model(tiny.config()), tiny.tokenizer(), texts, target, config(batch_size=500), CPU
        )


class FakeTeacher:
    """Stands in for sentence-transformers; counts how often it is made."""

    made = 0

    def __init__(self, path: str, device: str) -> None:
        type(self).made += 1
        self.path = path

    def encode(self, texts: list[str], **options: object) -> np.ndarray:
        assert options["normalize_embeddings"] is True
        return np.array([[len(text) / 10, 1.0] for text in texts])


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> type[FakeTeacher]:
    FakeTeacher.made = 0
    stand_in = type(sys)("sentence_transformers")
    stand_in.SentenceTransformer = FakeTeacher
    monkeypatch.setitem(sys.modules, "sentence_transformers", stand_in)
    return FakeTeacher


def test_teachers_embeddings_are_kept_for_the_same_texts_only(
    teacher: type[FakeTeacher], tmp_path: Path
) -> None:
    cache = tmp_path / "teacher.npz"
    first = teacher_embeddings("t", ["ab", "abcd"], cache)
    assert first.dtype == np.float16
    assert np.allclose(first, [[0.2, 1], [0.4, 1]], atol=1e-3)
    assert [path.name for path in tmp_path.iterdir()] == ["teacher.npz"]
    assert np.array_equal(teacher_embeddings("t", ["ab", "abcd"], cache), first)
    assert teacher.made == 1
    assert np.allclose(teacher_embeddings("t", ["a", "b"], cache), 2 * [[0.1, 1]], atol=1e-3)
    assert teacher.made == 2  # as many texts, but others
    teacher_embeddings("another", ["a", "b"], cache)
    assert teacher.made == 3


def test_a_teacher_that_cannot_be_loaded_is_said(
    teacher: type[FakeTeacher], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_: object, **__: object) -> None:
        raise OSError("no such model\nand a page of advice")

    monkeypatch.setattr(teacher, "__init__", absent)
    with pytest.raises(ClapError, match=r"text\.teacher t cannot be loaded \(no such model\)\."):
        teacher_embeddings("t", ["a"], tmp_path / "teacher.npz")
    assert not list(tmp_path.iterdir())


def test_missing_library_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ClapError, match=r"pip install clap-export\[train\]"):
        teacher_embeddings("t", ["a"], tmp_path / "teacher.npz")
