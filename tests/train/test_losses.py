"""The contrastive losses, a pair at a time in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from train.losses import sigmoid_loss, softmax_loss
from train.machine.distributed import Ranks


def unit(rows: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(rows, 6, generator=generator), dim=1)


def log_softmax(row: list[float]) -> list[float]:
    total = math.log(sum(math.exp(value) for value in row))
    return [value - total for value in row]


def paper_loss(audio: torch.Tensor, text: torch.Tensor, scale: float) -> float:
    """0.5 (l_text(C) + l_audio(C)), l_k = 1/N sum_i log diag(softmax(C)), equations 3 and 4."""
    a, t = audio.double().numpy(), text.double().numpy()
    n = len(a)
    similarity = [[scale * float(np.dot(x, y)) for y in t] for x in a]
    over_texts = sum(log_softmax(similarity[i])[i] for i in range(n)) / n
    columns = [[similarity[i][j] for i in range(n)] for j in range(n)]
    over_clips = sum(log_softmax(columns[j])[j] for j in range(n)) / n
    return -0.5 * (over_texts + over_clips)


def loss(audio, text, scale, target) -> float:
    return softmax_loss(audio, text, torch.tensor(float(scale)), torch.tensor(target)).item()


@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
def test_one_text_for_each_clip_is_the_papers_loss(scale: float) -> None:
    audio, text = unit(5, 1), unit(5, 2)
    want = paper_loss(audio, text, scale)
    assert loss(audio, text, scale, np.eye(5, dtype=np.float32)) == pytest.approx(want, rel=1e-5)


def test_extra_texts_are_candidates_for_clips_and_have_no_clips_of_their_own() -> None:
    audio, text = unit(3, 1), unit(5, 2)
    target = np.eye(3, 5, dtype=np.float32)
    similarity = 7.0 * (audio.double() @ text.double().T).numpy()
    from_audio = -sum(log_softmax(list(similarity[i]))[i] for i in range(3)) / 3
    from_text = -sum(log_softmax(list(similarity[:, j]))[j] for j in range(3)) / 3
    assert loss(audio, text, 7.0, target) == pytest.approx((from_audio + from_text) / 2, rel=1e-5)


def test_clips_that_share_a_text_share_its_column() -> None:
    audio, text = unit(3, 3), unit(2, 4)
    target = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    similarity = 7.0 * (audio.double() @ text.double().T).numpy()
    from_audio = -sum(log_softmax(list(similarity[i]))[j] for i, j in enumerate([0, 0, 1])) / 3
    first, second = log_softmax(list(similarity[:, 0])), log_softmax(list(similarity[:, 1]))
    from_text = -((first[0] + first[1]) / 2 + second[2]) / 2
    assert loss(audio, text, 7.0, target) == pytest.approx((from_audio + from_text) / 2, rel=1e-5)


def test_mixed_clips_have_both_texts_by_their_shares() -> None:
    audio, text = unit(2, 5), unit(2, 6)
    target = np.array([[0.75, 0.25], [0.0, 1.0]], np.float32)
    similarity = 7.0 * (audio.double() @ text.double().T).numpy()
    rows = [log_softmax(list(row)) for row in similarity]
    columns = [log_softmax(list(column)) for column in similarity.T]
    from_audio = -(0.75 * rows[0][0] + 0.25 * rows[0][1] + rows[1][1]) / 2
    from_text = -(columns[0][0] + (0.25 * columns[1][0] + columns[1][1]) / 1.25) / 2
    assert loss(audio, text, 7.0, target) == pytest.approx((from_audio + from_text) / 2, rel=1e-5)


def test_falls_to_zero_when_pairs_agree_and_nothing_else_does() -> None:
    axes = torch.eye(6)
    assert loss(axes, axes, 100.0, np.eye(6, dtype=np.float32)) < 1e-6
    assert loss(axes, -axes, 100.0, np.eye(6, dtype=np.float32)) > 50


def test_gradient_is_the_slope_of_the_papers_loss() -> None:
    audio, text = unit(4, 7).requires_grad_(), unit(4, 8)
    softmax_loss(audio, text, torch.tensor(5.0), torch.eye(4)).backward()
    step = 1e-4
    for row, column in ((0, 0), (2, 5)):
        up, down = audio.detach().double(), audio.detach().double()
        up[row, column] += step
        down[row, column] -= step
        slope = (paper_loss(up, text, 5.0) - paper_loss(down, text, 5.0)) / (2 * step)
        assert audio.grad[row, column].item() == pytest.approx(slope, rel=1e-3, abs=1e-5)


# Four clips and five texts: two clips share a text, one has two, one is a mixture; the last text is
# nobody's.
SHARED = torch.tensor([[1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0.5, 0.5, 0, 0], [0, 0, 0.2, 0.8, 0]])


def test_sigmoid_loss_is_one_decision_a_pair() -> None:
    audio, text, scale, bias = unit(4, 1), unit(5, 2), 9.0, -4.0
    full = [[1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0.25, 1, 0]]
    want = 0.0
    for i in range(4):
        for j in range(5):
            z = scale * float(np.dot(audio[i].double(), text[j].double())) + bias
            yes, no = math.log1p(math.exp(-z)), math.log1p(math.exp(z))
            want += (full[i][j] * yes + (1 - full[i][j]) * no) / 4
    found = sigmoid_loss(audio, text, torch.tensor(scale), torch.tensor(bias), SHARED)
    assert found.item() == pytest.approx(want, rel=1e-5)


def test_sigmoid_loss_with_one_caption_is_siglips() -> None:
    """-1/N sum_ij log sigmoid(z_ij (t x_i y_j + b)), Zhai et al. 2023, section 3.2."""
    audio, text = unit(5, 1), unit(5, 2)
    logits = 10 * audio.double() @ text.double().T - 10
    sign = 2 * torch.eye(5) - 1
    want = -(sign * logits).sigmoid().log().sum() / 5
    found = sigmoid_loss(audio, text, torch.tensor(10.0), torch.tensor(-10.0), torch.eye(5))
    assert found.item() == pytest.approx(want.item(), rel=1e-5)


@pytest.mark.parametrize("name", ["softmax", "sigmoid"])
@pytest.mark.parametrize("world", [2, 3, 4])
def test_the_mean_of_the_processes_shares_is_the_loss(name: str, world: int) -> None:
    """So is the mean of their gradients; rows and texts need not divide evenly."""
    bias = torch.tensor(-4.0)

    def of(ranks: Ranks) -> tuple[torch.Tensor, list[torch.Tensor]]:
        inputs = [unit(4, 1), unit(5, 2), torch.tensor(9.0)]
        for tensor in inputs:
            tensor.requires_grad_()
        if name == "softmax":
            found = softmax_loss(*inputs, SHARED, ranks)
        else:
            found = sigmoid_loss(*inputs, bias, SHARED, ranks)
        return found.detach(), list(torch.autograd.grad(found, inputs))

    whole, gradients = of(Ranks())
    shares = [of(Ranks(rank, world)) for rank in range(world)]
    mean = torch.stack([share for share, _ in shares]).mean()
    assert mean.item() == pytest.approx(whole.item(), rel=1e-6)
    for i, gradient in enumerate(gradients):
        found = torch.stack([parts[i] for _, parts in shares]).mean(0)
        assert (found - gradient).abs().max() < 1e-6
