"""The audio side of a bridge: a finished tagger's frontend, tower and classifier."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from clap_export.checkpoints import audio_towers, load
from clap_export.model.config import (
    YAMNET_MEL,
    AudioEncoderConfig,
    YamnetConfig,
)
from runtime.audio_spec import AudioSpec, Mel
from runtime.errors import ClapError
from train.bridge import backbone
from train.bridge.classifier import head, network
from train.config.bridge import TaggerSource
from train.config.text_file import read_text
from train.machine import package
from train.tagger import convert, yamnet

_MARKS = {
    "cnn14": ("conv_block1.conv1.weight", "fc_audioset.weight"),
    "htsat": ("patch_embed.proj.weight", "layers.0.", "tscam_conv.weight"),
}
_HEADS = {"cnn14": "fc_audioset", "htsat": "tscam_conv"}


@dataclass(frozen=True, eq=False)
class Tagger:
    """What of a model comes from a tagger.

    Attributes:
        audio: how it hears.
        encoder: its tower.
        tags: names of what it hears.
        tensors: of ``mel``, ``audio_encoder`` and ``bridge.head``, by the model's names.
        usual: ``[tags]``, the mean probability of each, of a bridge; None of others.
    """

    audio: AudioSpec
    encoder: AudioEncoderConfig
    tags: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    usual: Tensor | None = None


def read(source: TaggerSource) -> Tagger:
    """Read a tagger's files.

    Raises:
        ClapError: they are missing, of another architecture, without a classifier, no bridge where
            one is asked for, or have another number of tags than there are names.
    """
    path = Path(package.find(source.weights, "tagger.weights"))
    if source.kind == "bridge":
        return _bridge(path)
    readers = {"yamnet": _yamnet, "timm": _backbone}
    found = readers.get(source.kind, _tower)(source, path)
    rows = len(found.tensors["bridge.head.weight"])
    if rows != len(found.tags):
        raise ClapError(
            f"tagger {source.weights} tells {rows} tags, but {source.names} names "
            f"{len(found.tags)}."
        )
    return found


def _bridge(path: Path) -> Tagger:
    model = load(path).model
    config = model.config
    if model.bridge is None or config.bridge is None:
        raise ClapError(
            f"tagger.weights {path} is no bridge, and tells no tags: kind 'bridge' takes what "
            "python -m train bridge, or distil with a bridge as teacher, has made."
        )
    parts = ("mel.", "audio_encoder.", "bridge.head.")
    tensors = {name: x for name, x in model.state_dict().items() if name.startswith(parts)}
    return Tagger(
        config.audio, config.audio_encoder, config.bridge.tags, tensors, model.bridge.usual
    )


def _yamnet(source: TaggerSource, path: Path) -> Tagger:
    network = convert.read(path) if path.is_dir() else yamnet.load(path)
    tensors = {
        name.replace("classifier.", "bridge.head.")
        if name.startswith("classifier.")
        else f"audio_encoder.{name}": value
        for name, value in network.state_dict().items()
    }
    encoder = AudioEncoderConfig(yamnet=YamnetConfig(source.patch_hop))
    return Tagger(_spec(source, YAMNET_MEL), encoder, network.labels, tensors)


def _backbone(source: TaggerSource, path: Path) -> Tagger:
    assert source.timm is not None  # it is of that kind
    audio = _spec(source, source.timm.mel)
    config, state = backbone.read(source.timm, path, audio)
    encoder = AudioEncoderConfig(compact=config)
    return Tagger(audio, encoder, _names(str(source.names)), state)


def _tower(source: TaggerSource, path: Path) -> Tagger:
    kind, classifier = source.kind, _HEADS[source.kind]
    state = network(path, kind, _MARKS[kind], classifier)
    mel = audio_towers.mel(state, "", source.sample_rate, source.hop_length)
    heard = audio_towers.frontend(state, "", mel)
    if source.kind == "cnn14":
        rules = audio_towers.CNN14
        encoder = AudioEncoderConfig(cnn14=audio_towers.cnn14_config(state, ""))
    else:
        rules = audio_towers.HTSAT
        encoder = AudioEncoderConfig(htsat=audio_towers.htsat_config(state, ""))
    tensors = {**state.translated(rules), **heard.tensors, **head(state, classifier)}
    return Tagger(_spec(source, mel), encoder, _names(str(source.names)), tensors)


def _spec(source: TaggerSource, mel: Mel) -> AudioSpec:
    samples = round(source.seconds * mel.sample_rate)
    return AudioSpec(mel.sample_rate, samples, samples, "repeat", False, mel)


def _names(source: str) -> tuple[str, ...]:
    path = Path(package.find(source, "tagger.names"))
    lines = read_text(path, "tagger.names").splitlines()
    if path.suffix == ".csv":
        try:
            names = [row["display_name"] for row in csv.DictReader(lines, strict=True)]
        except (csv.Error, KeyError) as error:
            raise ClapError(
                f"tagger.names {path} is no CSV with a column display_name ({error})."
            ) from error
    else:
        names = [line.strip() for line in lines if line.strip()]
    if not names or not all(names):
        raise ClapError(f"tagger.names {path} does not name a tag in every row.")
    return tuple(names)
