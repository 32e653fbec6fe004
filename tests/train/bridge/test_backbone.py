"""Taggers that are networks of timm, against the network itself."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from clap_export.checkpoints import load
from clap_export.model.mel import LogMel
from runtime.audio_spec import Mel
from runtime.errors import ClapError
from tests.tiny import run as tinyrun
from tests.train.bridge.test_run import files, recipe
from train.bridge import tagger
from train.bridge.run import run
from train.config.bridge import NetworkSource, TaggerSource

__all__ = ["files"]
pytestmark = pytest.mark.usefixtures("one_thread")

MEL = Mel(16_000, 512, 160, 64, 50.0, 7_800.0, "htk", None, 1e-10)
NAMES = ("a", "b", "c", "d", "e")
MEAN, STD = -32.0, 17.5


def network(backbone: str, channels: int) -> Any:
    """With statistics of batches other than those it begins with."""
    torch.manual_seed(3)
    made: Any = timm.create_model(backbone, in_chans=channels, num_classes=len(NAMES))
    made.train()
    with torch.no_grad():
        made(torch.randn(4, channels, 64, 96))
    return made.eval()


def source(folder: Path, backbone: str) -> TaggerSource:
    (folder / "names.txt").write_text("\n".join(NAMES))
    return TaggerSource(
        "timm", str(folder / "tagger.pt"), "MIT", str(folder / "names.txt"), seconds=1.2,
        timm=NetworkSource(backbone, **asdict(MEL), mean=MEAN, std=STD),
    )  # fmt: skip


def other(source: TaggerSource, backbone: str) -> TaggerSource:
    assert source.timm is not None
    return replace(source, timm=replace(source.timm, backbone=backbone))


def tells(theirs: Any, waveform: Tensor, channels: int) -> Tensor:
    """As its owner runs it: decibels, normalised, the same picture in each channel."""
    picture = (LogMel(MEL)(waveform).transpose(1, 2) - MEAN) / STD
    return theirs(picture.unsqueeze(1).expand(-1, channels, -1, -1)).sigmoid()


@pytest.mark.parametrize(
    ("backbone", "channels", "wrapped"),
    [
        ("mobilenetv3_small_050", 3, {}),
        ("mobilenetv3_small_050", 1, {"state_dict": "model."}),
        ("regnetx_002", 3, {"model": ""}),
        ("resnet10t", 1, {}),
    ],
)
def test_its_tags_are_the_networks(
    backbone: str, channels: int, wrapped: dict[str, str], files: Path, tmp_path: Path
) -> None:
    theirs = network(backbone, channels)
    held: Any = theirs.state_dict()
    for key, prefix in wrapped.items():
        held = {key: {prefix + name: value for name, value in held.items()}, "epoch": 3}
    torch.save(held, tmp_path / "tagger.pt")
    listing = {"path": str(files / "clips0.csv"), "audio": "file", "labels": ["class"]}
    asked = replace(
        recipe(files, out=str(tmp_path / "out"), listings=[listing]),
        tagger=source(tmp_path, backbone),
    )  # fmt: skip
    model = load(run(asked)).model
    assert model.config.bridge is not None
    assert model.config.bridge.tags == NAMES
    assert model.config.bridge.labels == len(tinyrun.LABELS)
    waveform = 0.1 * torch.randn(2, model.config.audio.window_samples)
    with torch.inference_mode():
        assert model.bridge is not None
        _, tagged = model.audio_encoder.tagged(model.mel(waveform))
        found = model.bridge.probabilities(tagged)
        wanted = tells(theirs, waveform, channels)
    assert wanted.std() > 1e-3
    assert torch.allclose(found, wanted, atol=1e-5)


def test_other_networks_are_one_sentence(tmp_path: Path) -> None:
    asked = source(tmp_path, "resnet10t")
    with pytest.raises(ClapError, match="does not exist"):
        tagger.read(asked)
    torch.save(network("regnetx_002", 1).state_dict(), tmp_path / "tagger.pt")
    with pytest.raises(ClapError, match=r"holds no resnet10t of timm with its classifier \(conv1"):
        tagger.read(asked)
    torch.save({"conv1.0.weight": torch.zeros(4), "fc.weight": torch.zeros(4)}, tmp_path / "odd.pt")
    with pytest.raises(ClapError, match=r"has no usable tensor 'conv1\.0\.weight'"):
        tagger.read(replace(asked, weights=str(tmp_path / "odd.pt")))
    with pytest.raises(ClapError, match="'resnet' is no architecture of timm"):
        tagger.read(other(asked, "resnet"))
    with pytest.raises(ClapError, match=r"takes no pictures of 64 mel bins.*without a fixed size"):
        tagger.read(other(asked, "vit_tiny_patch16_224"))
    with pytest.raises(ClapError, match="no single first convolution and classifier"):
        tagger.read(other(asked, "deit_tiny_distilled_patch16_224"))
    (tmp_path / "names.txt").write_text("a\nb\n")
    with pytest.raises(ClapError, match=r"tells 5 tags, but .*names.txt names 2"):
        tagger.read(other(asked, "regnetx_002"))


def test_what_only_timm_takes(tmp_path: Path) -> None:
    asked = source(tmp_path, "resnet10t")
    assert asked.timm is not None
    with pytest.raises(ValueError, match="'timm' needs table 'timm'"):
        replace(asked, timm=None)
    with pytest.raises(ValueError, match="'cnn14' takes no table 'timm'"):
        replace(asked, kind="cnn14")
    with pytest.raises(ValueError, match=r"f_max is 9000.*f_min must be below f_max.*std is 0"):
        replace(asked.timm, f_min=9000.0, f_max=9000.0, std=0.0)
