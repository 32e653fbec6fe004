"""The loss between bridges, against what it says in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.tiny import bridge as tinybridge
from train.distil.bridge_loss import (
    DIRECTION,
    HINT,
    MAP,
    PROBABILITIES,
    SPREAD,
    Answer,
    BridgeLoss,
)

FLOOR = 1e-3


def answer(seed: int, width: int = 12) -> Answer:
    draw = torch.Generator().manual_seed(seed)
    tags = torch.rand(6, len(tinybridge.TAGS), generator=draw) ** 3
    features = torch.rand(6, width, generator=draw)
    return Answer(tags, features, torch.randn(6, 8, generator=draw))


@pytest.fixture
def loss() -> BridgeLoss:
    torch.manual_seed(0)
    student, teacher = tinybridge.model("cnn14"), tinybridge.model("cnn14")
    made = BridgeLoss(student, teacher, answer(0))
    made.guess = torch.nn.Linear(12, 12)
    return made


def said(loss: BridgeLoss, ours: Answer, theirs: Answer) -> float:
    """The same in float64, term by term."""
    usual = loss._bridge.usual.double().numpy()

    def evidence(x: Answer) -> np.ndarray:
        return np.log(x.tags.double().numpy() + FLOOR) - np.log(usual + FLOOR)

    weight = 1 / (evidence(answer(0)).std(0) + SPREAD)
    weight /= weight.mean()
    a, b = evidence(ours), evidence(theirs)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    p, t = ours.tags.double().numpy(), theirs.tags.double().numpy()
    entropy = -(t * np.log(p) + (1 - t) * np.log(1 - p)).sum(1).mean()
    matrix = loss.guess.weight.detach().double().numpy()
    guess = ours.features.double().numpy() @ matrix.T + loss.guess.bias.detach().double().numpy()
    wanted = theirs.features.double().numpy()
    assert ours.mapped is not None
    assert theirs.mapped is not None
    m, n = ours.mapped.double().numpy(), theirs.mapped.double().numpy()
    return float(
        (((a - b) ** 2) * weight).mean()
        + DIRECTION * (1 - cosine).mean()
        + PROBABILITIES * entropy
        + HINT * ((guess - wanted) ** 2).mean() / (wanted**2).mean()
        + MAP * ((m - n) ** 2).mean() / (n**2).mean()
    )


def test_it_is_what_it_says(loss: BridgeLoss) -> None:
    ours, theirs = answer(1), answer(2)
    assert loss(ours, theirs).item() == pytest.approx(said(loss, ours, theirs), rel=1e-5)


def test_nothing_is_better_than_the_teachers_own_answer(loss: BridgeLoss) -> None:
    theirs = answer(2)
    loss.guess.weight.data = torch.eye(12)
    loss.guess.bias.data.zero_()
    best = loss(theirs, theirs).item()
    for seed in range(20):
        draw = torch.Generator().manual_seed(seed)
        near = theirs.tags + 0.02 * torch.randn(theirs.tags.shape, generator=draw)
        assert loss(Answer(near.clamp(1e-4, 1), theirs.features, theirs.mapped), theirs) > best


def test_a_tag_that_never_sounds_does_not_count_beyond_bounds() -> None:
    still = answer(0)
    still.tags[:, 0] = 1e-6
    model = tinybridge.model("cnn14")
    weight = BridgeLoss(model, model, still).weight
    assert weight[0] == weight.max()
    assert weight.max() / weight.min() < 1 + 8 / SPREAD  # no evidence spreads more than 8


def test_an_answer_is_what_the_bridge_makes_of_a_sound() -> None:
    """Evidence, map and all: put together as the bridge does, it is the model's own vector."""
    model = tinybridge.yamnet()
    assert model.bridge is not None
    log_mel = model.mel(0.1 * torch.randn(2, 32_000, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        found, raw = Answer.of(model, log_mel), model.raw_audio(log_mel)
        tags = len(model.bridge.config.tags)
        torch.testing.assert_close(model.bridge.evidence(found.tags), raw[:, :tags])
        assert found.mapped is not None
        torch.testing.assert_close(found.mapped, raw[:, tags : tags + found.mapped.shape[1]])
        parts = [Answer.of(model, part) for part in log_mel.split(1)]
        together = Answer.together(parts)
    torch.testing.assert_close(together.tags, found.tags)
    torch.testing.assert_close(together.features, found.features)


def test_the_last_layer_of_the_student_moves_by_it() -> None:
    model = tinybridge.model("cnn14")
    log_mel = torch.randn(4, 64, model.config.audio.mel.n_mels)
    mine = Answer.of(model, log_mel)
    assert model.bridge is not None
    BridgeLoss(model, model, mine)(mine, Answer.of(model, log_mel.flip(0))).backward()
    for weight in (model.bridge.head.weight, model.audio_projection.linear1.weight):
        assert weight.grad is not None
        assert weight.grad.abs().max() > 0
