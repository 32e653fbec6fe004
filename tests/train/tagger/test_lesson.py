"""Learning from a tagger beside the labels: its ears, its answers, its names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from clap_export.model.clap import normalise
from runtime import schema
from runtime.audio_spec import AudioSpec
from runtime.errors import ClapError, SchemaError
from tests import tiny
from tests.tiny import run as tinyrun
from train.config.contrastive import TrainConfig
from train.config.teaching import TaggerConfig, TeachersConfig
from train.contrastive.captions import CaptionBank
from train.contrastive.run import run
from train.machine.distributed import Ranks
from train.tagger import Heard, Lesson, LessonBatch, Tagger, yamnet

CPU = torch.device("cpu")
LABELS = ("noise", "a clock ticking", "silence", "a pure tone")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A YAMNet of random weights that tells a few kinds of sound apart."""
    torch.manual_seed(1)
    network = yamnet.Yamnet(LABELS)
    for layer in network.convolutions:
        torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    path = tmp_path_factory.mktemp("yamnet") / "yamnet.safetensors"
    save_file(network.state_dict(), path, {"kind": "yamnet", "labels": json.dumps(LABELS)})
    return str(path)


def audio(rate: int, samples: int) -> AudioSpec:
    """Windows of ``samples`` at ``rate`` Hz."""
    spec = tiny.config().audio
    return replace(
        spec, sample_rate=rate, window_samples=samples, hop_samples=samples,
        mel=replace(spec.mel, sample_rate=rate),
    )  # fmt: skip


def test_tagger_hears_other_rates_by_resampling(weights: str) -> None:
    """A tone at 24 kHz is heard as the same tone at 16 kHz."""
    config = TaggerConfig(weights, features=1.0)
    heard = [
        Tagger(config, audio(rate, 2 * rate), CPU, torch.float32)(
            0.3 * torch.sin(2 * torch.pi * 440 * torch.arange(2 * rate) / rate)[None]
        )
        for rate in (16_000, 24_000)
    ]
    assert torch.cosine_similarity(heard[0].vector, heard[1].vector).item() > 0.999
    for found in heard:
        assert found.vector.square().mean().item() == pytest.approx(1.0, abs=1e-5)
        assert found.tags.sum().item() == pytest.approx(1.0, abs=1e-5)


def test_windows_shorter_than_a_patch_are_refused(weights: str) -> None:
    """Their mean over no patches would be not a number."""
    with pytest.raises(ClapError, match=r"hears 0\.975 s at least, the windows have 0\.5"):
        Tagger(TaggerConfig(weights, features=1.0), audio(8000, 4000), CPU, torch.float32)


@pytest.mark.parametrize(("weight", "names"), [(0.0, ()), (0.1, LABELS)])
def test_names_that_are_no_lesson_are_no_texts(
    weight: float, names: tuple[str, ...], weights: str
) -> None:
    config = TaggerConfig(weights, features=1.0, tags=weight)
    assert Tagger(config, audio(16_000, 32_000), CPU, torch.float32).names == names


def case(clips: int = 6) -> dict[str, Any]:
    """Random inputs of a lesson: 5 texts, 4 tags, 7 numbers from the tower, 3 dimensions."""
    rng = np.random.default_rng(5)

    def unit(*shape: int) -> torch.Tensor:
        x = rng.standard_normal(shape)
        return torch.from_numpy(x / np.linalg.norm(x, axis=1, keepdims=True)).float()

    draws = [torch.from_numpy(rng.dirichlet(np.ones(n), clips)).float() for n in (4, 5)]
    vector = torch.from_numpy(rng.standard_normal((clips, yamnet.WIDTH))).float()
    return {
        "heard": Heard(vector, draws[0]), "target": draws[1], "audio": unit(clips, 3),
        "vector": torch.from_numpy(rng.standard_normal((clips, 7))).float(),
        "texts": unit(5, 3), "tags": unit(4, 3), "scale": torch.tensor(3.0), "clips": clips,
    }  # fmt: skip


def made(**weights: float) -> Lesson:
    torch.manual_seed(2)
    return Lesson(TaggerConfig("none", **weights), 7, 3).eval()


def cross_entropy(logits: np.ndarray, target: np.ndarray) -> float:
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return float(-(target * log_p).sum(1).mean())


def test_the_loss_is_the_sum_of_its_parts() -> None:
    """Against numpy: the head's own lesson, and each part by its weight."""
    given = case()
    lesson = made(answers=0.25, features=0.5, tags=2.0)
    plain = {k: v.numpy() for k, v in given.items() if isinstance(v, torch.Tensor)}
    heard = given["heard"]
    linear = lesson.answer[1]
    answer = heard.vector.numpy() @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
    answer /= np.linalg.norm(answer, axis=1, keepdims=True)
    logits = 3.0 * answer @ plain["texts"].T
    said = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    guess = plain["vector"] @ lesson.guess.weight.detach().numpy().T
    error = guess + lesson.guess.bias.detach().numpy() - heard.vector.numpy()
    want = (
        cross_entropy(logits, plain["target"])
        + 0.25 * cross_entropy(3.0 * plain["audio"] @ plain["texts"].T, said)
        + 0.5 * float((error**2).mean())
        + 2.0 * cross_entropy(3.0 * plain["audio"] @ plain["tags"].T, heard.tags.numpy())
    )
    assert lesson(LessonBatch(**given)).item() == pytest.approx(want, rel=1e-5)


def test_shares_of_processes_add_up() -> None:
    given, lesson = case(), made(answers=0.25, features=0.5, tags=2.0)
    whole = lesson(LessonBatch(**given)).item()
    shares = []
    for rank in range(2):
        own = slice(rank, None, 2)
        part = {k: given[k][own] for k in ("vector", "audio", "target")}
        heard = Heard(given["heard"].vector[own], given["heard"].tags[own])
        shares.append(
            lesson(LessonBatch(**{**given, **part, "heard": heard}), Ranks(rank, 2)).item()
        )
    assert np.mean(shares) == pytest.approx(whole, rel=1e-6)


def test_the_answering_head_learns_alone() -> None:
    """Its own lesson moves neither the texts nor, answers apart, the student."""
    given = case()
    for name in ("audio", "texts"):
        given[name].requires_grad_()
    lesson = made(answers=0.5)
    lesson(LessonBatch(**given)).backward()
    moved = {name: given[name].grad.clone() for name in ("audio", "texts")}
    for name in moved:
        given[name].grad = None
    said = (3.0 * normalise(lesson.answer(given["heard"].vector)) @ given["texts"].T).softmax(1)
    logits = 3.0 * given["audio"] @ given["texts"].T
    (-0.5 * (said.detach() * logits.log_softmax(1)).sum(1).mean()).backward()
    for name, gradient in moved.items():
        assert torch.allclose(gradient, given[name].grad, atol=1e-6), name
    assert lesson.answer[1].weight.grad.abs().sum() > 0


def test_what_is_no_lesson_moves_nothing() -> None:
    """With nothing but tags of weight 0.5 to learn, texts and heads get no gradient at all."""
    given = case()
    for name in ("audio", "texts", "tags", "vector"):
        given[name].requires_grad_()
    lesson = made(tags=0.5)
    lesson(LessonBatch(**given)).backward()
    assert given["texts"].grad is None
    assert given["vector"].grad is None
    assert lesson.answer[1].weight.grad is None
    assert given["tags"].grad.abs().sum() > 0
    assert given["audio"].grad.abs().sum() > 0


def test_tags_are_texts_in_one_prompt_at_a_time() -> None:
    bank = CaptionBank([], ("the sound of {}", "{}!"), LABELS)
    rng = np.random.default_rng(0)
    found = {tuple(bank.texts[i] for i in bank.draw_tags(rng)) for _ in range(50)}
    assert found == {
        LABELS, tuple(f"the sound of {x}" for x in LABELS), tuple(f"{x}!" for x in LABELS)
    }  # fmt: skip
    assert bank.labels == []


def test_parts_give_the_gradient_of_the_whole_batch(tmp_path: Path, weights: str) -> None:
    """Of the model and of the heads, to 1e-4 of each tensor's largest; dropout is off."""
    given = {"text_from_epoch": 0, "text_negatives": 0, "clip_norm": 0.0, "ema": 0.0}
    config = tinyrun.config(tmp_path, freeze_statistics=True, **given)
    tagging = TaggerConfig(weights, answers=0.3, features=0.5, tags=0.1)
    shape = tinyrun.without_dropout(heard_for_long_enough(config).model)
    found = []
    for parts in (1, 3):
        made = replace(config, tagger=tagging, loop=replace(config.loop, accumulate=parts))
        state, loss = tinyrun.learn(made, shape)
        parts_of = (state.model, state.lesson)
        gradients = {n: p.grad for part in parts_of for n, p in part.named_parameters()}
        found.append((loss.item(), gradients))
    (loss, whole), (loss_of_parts, parts) = found
    assert loss_of_parts == pytest.approx(loss, rel=1e-5)
    assert whole["guess.weight"].abs().max() > 0
    for name, gradient in whole.items():
        if gradient is not None and gradient.any():
            error = (parts[name] - gradient).abs().max()
            assert error <= 1e-4 * gradient.abs().max() + 1e-9, name


def heard_for_long_enough(config: TrainConfig) -> TrainConfig:
    """Windows of 2 s: a tagger needs one patch at least."""
    assert config.model is not None
    return replace(config, model=replace(config.model, audio=audio(tiny.RATE, 2 * tiny.RATE)))


def lesson_run(folder: Path, weights: str, **changes: Any) -> TrainConfig:
    folder.mkdir()
    tagger = TaggerConfig(weights, answers=0.3, features=0.5, tags=0.1)
    config = tinyrun.config(  # a cosine would end with a run that is stopped
        folder, epochs=4, steps_per_epoch=4, validate_every=4, schedule="plateau"
    )
    return replace(heard_for_long_enough(config), tagger=tagger, **changes)


def test_a_run_stopped_half_way_ends_in_the_same_bits(tmp_path: Path, weights: str) -> None:
    """The heads are part of what a run goes on from."""
    text = str(tiny.save(tmp_path / "text.safetensors"))
    parts, straight = (
        lesson_run(tmp_path / name, weights, text_init=text) for name in ("parts", "straight")
    )
    run(replace(parts, loop=replace(parts.loop, epochs=2)))
    run(parts, override=True)  # by two epochs longer
    run(straight)
    ends = [torch.load(c.folder / "last.pt", weights_only=True) for c in (parts, straight)]
    assert ends[0]["lesson"].keys() == {
        "guess.weight", "guess.bias", "answer.1.weight", "answer.1.bias"
    }  # fmt: skip
    for part in ("model", "lesson", "average"):
        for name, value in ends[0][part].items():
            assert torch.equal(value, ends[1][part][name]), name
    records = [json.loads(x) for x in (straight.folder / "metrics.jsonl").read_text().splitlines()]
    assert records[-1]["loss"] < records[0]["loss"]


def test_the_saved_model_has_no_heads(tmp_path: Path, weights: str) -> None:
    from safetensors import safe_open

    text = str(tiny.save(tmp_path / "text.safetensors"))
    config = lesson_run(tmp_path / "run", weights, text_init=text)
    with safe_open(run(config), "pt") as file:
        names = set(file.keys())
    assert not {n for n in names if "guess" in n or "answer" in n or "classifier" in n}


@pytest.mark.parametrize(
    ("tagger", "problem"),
    [
        ({"weights": "a"}, "nothing is learned"),
        ({"weights": "a", "answers": 1.0}, "must be at least 0 and below 1"),
        ({"weights": "a", "features": -1.0}, "features is -1.0"),
    ],
)
def test_taggers_that_make_no_sense_are_refused(tagger: dict[str, Any], problem: str) -> None:
    with pytest.raises(SchemaError, match=problem):
        schema.read(TaggerConfig, tagger, "run.toml")


def test_teachers_and_tagger_leave_the_labels_a_share(tmp_path: Path) -> None:
    config = tinyrun.config(tmp_path)
    both = {"teachers": TeachersConfig(("a",), 0.7), "tagger": TaggerConfig("b", answers=0.2)}
    assert replace(config, **both).label_share == pytest.approx(0.1)
    with pytest.raises(ValueError, match="more than 1 together"):
        replace(config, **{**both, "tagger": TaggerConfig("b", answers=0.4)})
