"""One step: parts give the gradient of the whole, and blocks that run again give the same."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from clap_export.model.clap import ClapModel
from tests import tiny
from tests.tiny import run as tinyrun
from train.config.contrastive import LoopConfig, TrainConfig
from train.config.data import AugmentConfig
from train.contrastive import optimiser
from train.contrastive.batch import Preparer
from train.contrastive.captions import CaptionBank
from train.contrastive.recompute import recompute
from train.contrastive.state import RunState
from train.data.clips import ClipStore, Draws
from train.data.listing import read_listing
from train.data.texts import encode
from train.losses import sigmoid_loss, softmax_loss
from train.machine.device import send
from train.machine.run import Run

CPU = torch.device("cpu")


pytestmark = pytest.mark.usefixtures("one_thread")


def options(tmp_path: Path, **loop: Any) -> TrainConfig:
    plain = {"text_from_epoch": 0, "text_negatives": 0, "clip_norm": 0.0, "ema": 0.0}
    return tinyrun.config(tmp_path, **{**plain, **loop})


@pytest.mark.parametrize("parts", [2, 3, 8])
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_parts_give_the_gradient_of_the_whole_batch(parts: int, loss: str, tmp_path: Path) -> None:
    """To 1e-5 of each tensor's largest gradient; no layer depends on the batch."""
    config = options(tmp_path, loss=loss, freeze_statistics=True)
    shape = tinyrun.without_dropout(config.model)
    whole, loss_of_whole = tinyrun.learn(config, shape)
    loop = replace(config.loop, accumulate=parts)
    apart, loss_of_parts = tinyrun.learn(replace(config, loop=loop), shape)
    assert loss_of_parts.item() == pytest.approx(loss_of_whole.item(), rel=1e-5)
    for (name, one), other in zip(
        whole.model.named_parameters(), apart.model.parameters(), strict=True
    ):
        assert one.grad is not None, name
        scale = max(one.grad.abs().max().item(), 1e-3)
        assert (one.grad - other.grad).abs().max() <= 1e-5 * scale, name


def test_parts_draw_the_same_dropout_twice_and_count_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Tensor] = []
    real = ClapModel.embed_log_mel

    def listen(self: ClapModel, log_mel: Tensor, _longer: None) -> Tensor:
        heard.append(real(self, log_mel))
        return heard[-1]

    monkeypatch.setattr(ClapModel, "embed_log_mel", listen)
    config = tinyrun.config(
        tmp_path, dropout=0.5, text_from_epoch=0, text_negatives=0, accumulate=2
    )
    state, _ = tinyrun.learn(config, config.model)
    first, second, *again = heard
    assert torch.equal(torch.stack(again), torch.stack([first, second]))
    assert not first.requires_grad
    assert again[0].requires_grad
    assert state.model.audio_encoder.bn0.num_batches_tracked == 2  # one for each part


@pytest.mark.parametrize("audio", ["cnn14", "htsat", "compact"])
@pytest.mark.parametrize("text", ["bert-mean", "gpt2-last"])
def test_blocks_that_run_again_give_the_same_gradients(audio: str, text: str) -> None:
    """Dropout and BatchNorm's statistics included."""
    shape = tiny.config(audio, text)
    found: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []
    saved: list[int] = []
    for again in (False, True):
        model = tiny.model(shape).train()
        if again:
            recompute(model)
        kept = 0

        def count(tensor: Tensor) -> Tensor:
            nonlocal kept
            kept += tensor.numel()
            return tensor

        torch.manual_seed(1)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            loss = (model.embed_audio(tiny.waveforms(4)) * torch.arange(tiny.DIM)).sum()
            texts = model.embed_text(**tiny.tokens(4, shape.text_encoder))
            loss = loss + (texts * torch.arange(tiny.DIM)).sum()
        saved.append(kept)
        loss.backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        found.append((gradients, dict(model.state_dict())))
    for plain, other in zip(*found, strict=True):
        assert plain.keys() == other.keys()
        for name, value in plain.items():
            assert torch.allclose(value.float(), other[name].float(), rtol=1e-4, atol=1e-6), name
    assert saved[1] < 0.8 * saved[0]


def test_every_tower_has_its_rate_and_only_matrices_decay() -> None:
    shape = tiny.config()
    loop = LoopConfig(
        epochs=1, steps_per_epoch=1, batch_size=8, learning_rate=1e-3, weight_decay=0.1,
        warmup_epochs=0, text_negatives=0, ema=0.0, validate_every=1, audio_learning_rate=1e-4,
        text_learning_rate=1e-5, betas=(0.8, 0.95), eps=1e-6,
    )  # fmt: skip
    model, bias = ClapModel(shape), torch.nn.Parameter(torch.zeros(()))
    for kind, made in (("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam)):
        built = optimiser.build(model, [bias], replace(loop, optimiser=kind))
        assert type(built) is made
        optimiser.set_rates(built, 0.5)
        of = {id(p): group for group in built.param_groups for p in group["params"]}
        assert len(of) == len(list(model.parameters())) + 1
        for name, parameter in [*model.named_parameters(), ("bias", bias)]:
            peak = {"audio_encoder": 1e-4, "text_encoder": 1e-5}.get(name.split(".")[0], 1e-3)
            group = of[id(parameter)]
            assert group["lr"] == pytest.approx(peak / 2), name
            assert group["weight_decay"] == (0.1 if parameter.ndim > 1 else 0.0), name
            assert (group["betas"], group["eps"]) == ((0.8, 0.95), 1e-6)


def test_weights_move_as_adamw_is_written_whatever_their_layout(tmp_path: Path) -> None:
    """PyTorch's fused kernel reads weights, gradients and moments as they lie in memory."""
    rate, decay, (b1, b2), eps = 0.01, 0.1, (0.8, 0.9), 1e-8
    loop = LoopConfig(1, 1, 8, rate, decay, 0, 0, 0.0, 1, clip_norm=0.0, betas=(b1, b2), eps=eps)

    def begin() -> RunState:
        model = ClapModel(tiny.config())
        model.audio_encoder.to(memory_format=torch.channels_last)  # pyright: ignore
        return RunState(model, loop, CPU)

    state = begin()
    want = {name: p.detach().double() for name, p in state.model.named_parameters()}
    moments = {name: (torch.zeros_like(w), torch.zeros_like(w)) for name, w in want.items()}
    for step in (1, 2, 3):
        if step == 3:  # what comes back from the disk lies as it should, too
            state.save(tmp_path)
            state = begin()
            state.load(tmp_path, CPU)
        slopes = {name: torch.randn(w.shape) for name, w in want.items()}
        parameters = dict(state.model.named_parameters())
        assert not all(p.is_contiguous() for p in parameters.values())
        sums = [(parameters[name] * slope).sum() for name, slope in slopes.items()]
        torch.stack(sums).sum().backward()
        state.update()
        for name, slope in slopes.items():
            w, (m, v), g = want[name], moments[name], slope.double()
            w -= rate * decay * w if w.ndim > 1 else 0.0
            m.mul_(b1).add_((1 - b1) * g)
            v.mul_(b2).add_((1 - b2) * g * g)
            w -= rate * (m / (1 - b1**step)) / ((v / (1 - b2**step)).sqrt() + eps)
            if name == "logit_scale":
                w.clamp_(max=math.log(100))
            assert torch.allclose(parameters[name].double(), w, rtol=1e-4, atol=1e-6), (step, name)
            parameters[name].grad = None


@pytest.mark.parametrize("loss", [softmax_loss, sigmoid_loss])
def test_a_step_asks_the_device_for_no_numbers(
    loss: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU that is asked for one is waited for. On the meta device there are none to be had."""
    # PyTorch cannot even switch it off there.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    augment = AugmentConfig(mix=0.5, mixstyle=1.0, time_mask=4, frequency_mask=4, filter_db=3.0)
    made = tinyrun.config(tmp_path, augment=augment)
    store = ClipStore(read_listing(made.listings[0]), tiny.config().audio)
    bank = CaptionBank(store.clips, made.templates, ())
    (batch,) = store.batches(Draws(1, 0, made.loop.batch_size, augment), range(1))
    meta = torch.device("meta")
    model = ClapModel(tiny.config()).to(meta)
    ready = Preparer(model, bank, Run(made, meta))(batch, 0, 0)
    audio = model.embed_log_mel(ready.log_mel)
    words = [bank.texts[i] for i in ready.texts]
    tokens = encode(tiny.tokenizer(), words, tiny.config().text_encoder)
    text = model.embed_text(**{name: send(t, meta) for name, t in tokens.items()})
    more = [torch.empty((), device=meta)] if loss is sigmoid_loss else []
    loss(audio, text, model.scale(), *more, ready.target).backward()
    assert all(p.grad is not None and p.grad.is_meta for p in model.audio_encoder.parameters())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
@pytest.mark.parametrize("amp", ["off", "bf16"])
def test_a_step_never_waits_for_the_gpu(amp: str, tmp_path: Path) -> None:
    """In one epoch, after the first step has set up what is set up once."""
    augment = AugmentConfig(mix=0.5, mixstyle=1.0, time_mask=4, frequency_mask=4, filter_db=3.0)
    made = tinyrun.config(tmp_path, augment=augment, amp=amp)
    _, step = tinyrun.begin(made, tiny.config(), torch.device("cuda"))
    losses = [step(0)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        losses += [step(1), step(2)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.stack(losses).isfinite().all()


def test_the_scale_stays_at_its_limit_and_comes_back() -> None:
    loop = LoopConfig(1, 1, 8, 0.5, 0.0, 0, 0, 0.0, 1, clip_norm=0.0)
    model = ClapModel(tiny.config())
    state = RunState(model, loop, CPU)
    for slope, moves in ((-1.0, "up"), (1.0, "down")):
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        for _ in range(12):
            model.logit_scale.grad = torch.tensor(slope)
            state.update()
        assert (model.scale().item() == pytest.approx(100.0)) == (moves == "up")
        assert model.logit_scale.item() <= 4.60518


def test_the_average_keeps_whole_numbers_and_what_does_not_move() -> None:
    """Position ids are a buffer of the text tower; each step once rounded some of them down."""
    model = ClapModel(tiny.config())
    state = RunState(model, LoopConfig(1, 1, 8, 0.5, 0.0, 0, 0, ema=0.998, validate_every=1), CPU)
    assert state.average is not None
    for _ in range(50):
        state.average.update_parameters(model)
    found = dict(state.validated.named_buffers())
    assert any("position_ids" in name for name in found)
    for name, want in model.named_buffers():
        if want.is_floating_point():
            assert torch.allclose(found[name], want, rtol=1e-6), name
        else:
            assert torch.equal(found[name], want), name
