"""The compact encoder against its definition, built from timm directly."""

from __future__ import annotations

import pytest
import timm
import torch

from clap_export.model.compact import Compact
from clap_export.model.config import CompactConfig
from tests import tiny

BACKBONE = "mobilenetv4_conv_small_050"


def test_is_a_normalised_picture_through_the_backbone() -> None:
    model = tiny.model(tiny.config("compact"))
    encoder = model.audio_encoder
    assert isinstance(encoder, Compact)
    with torch.no_grad():
        log_mel = model.mel(tiny.waveforms(3))
        got = encoder(log_mel)
        bn = encoder.bn0
        mean, var, weight, bias = bn.running_mean, bn.running_var, bn.weight, bn.bias
        normalised = (log_mel - mean) / torch.sqrt(var + 1e-5) * weight + bias  # mel bins last
        theirs = timm.create_model(BACKBONE, in_chans=1, num_classes=0).eval()
        theirs.load_state_dict(encoder.backbone.state_dict())
        want = theirs(normalised.transpose(1, 2)[:, None])  # mel bins down, time across
    assert got.shape == (3, encoder.width)
    assert (want[0] - want[1]).abs().max() > 0.01
    assert (got - want).abs().max() < 1e-4 * want.abs().max()


def test_width_is_the_backbones_own() -> None:
    for name in (BACKBONE, "resnet10t"):
        encoder = Compact(CompactConfig(name, 64))
        assert encoder.width == encoder.backbone.head_hidden_size
        assert encoder.training  # finding the width leaves the mode alone
        assert encoder.backbone.training


def test_finding_the_width_leaves_the_statistics_alone() -> None:
    encoder = Compact(CompactConfig(BACKBONE, 64))
    counts = [v for k, v in encoder.state_dict().items() if k.endswith("num_batches_tracked")]
    assert counts
    assert all(count == 0 for count in counts)


def test_dropout_and_drop_path_act_in_training_only() -> None:
    log_mel = -40 + 20 * torch.randn(2, 64, 32)
    for options in ({"dropout": 0.5}, {"drop_path": 0.5}):
        torch.manual_seed(0)
        encoder = Compact(CompactConfig(BACKBONE, 32, **options))
        for module in encoder.modules():
            if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
                module.momentum = 0.0  # keep the statistics, so that only chance can differ
        assert not torch.equal(encoder(log_mel), encoder(log_mel))
        encoder.eval()
        assert torch.equal(encoder(log_mel), encoder(log_mel))
        plain = Compact(CompactConfig(BACKBONE, 32)).eval()
        plain.load_state_dict(encoder.state_dict())
        assert torch.equal(plain(log_mel), encoder(log_mel))


def test_unknown_backbone_is_refused() -> None:
    with pytest.raises(ValueError, match="'mobilenet_v9'"):
        CompactConfig("mobilenet_v9")
