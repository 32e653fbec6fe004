"""Tiny bridges: every audio encoder with a classifier, and YAMNet of the goldens' weights."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import torch

from clap_export.checkpoints import Checkpoint
from clap_export.model.bridge_config import BridgeConfig
from clap_export.model.clap import ClapModel, normalise
from clap_export.model.config import (
    YAMNET_MEL,
    AudioEncoderConfig,
    ClapConfig,
    ProjectionConfig,
    YamnetConfig,
)
from runtime.audio_spec import AudioSpec
from runtime.manifest import Source
from tests import tiny
from tests.goldens import recipe
from tests.places import GOLDENS
from train.tagger import convert

TAGS = ("a dog", "rain", "a bell", "wind", "a siren")
YAMNET = GOLDENS / "taggers" / "yamnet.npz"
SECONDS = 3


def bridged(config: ClapConfig, labels: int = 3, tags: tuple[str, ...] = TAGS) -> ClapConfig:
    """The config as a bridge."""
    bridge = BridgeConfig(
        tags, tiny.DIM, labels, temperature=0.2, gate_centre=0.4, gate_width=0.2, against=0.3,
        root=config.audio_encoder.htsat is None,
    )  # fmt: skip
    return replace(
        config, bridge=bridge, embedding_dim=bridge.dim, audio_projection=ProjectionConfig("linear")
    )


def fill(model: ClapModel, seed: int = 1) -> ClapModel:
    """Random, but plausible, values in what lies between the towers."""
    bridge = model.bridge
    assert bridge is not None
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for values in (bridge.tags, bridge.labels):
            values.copy_(normalise(torch.randn(values.shape, generator=draw)))
        bridge.centre.copy_(0.1 * torch.randn(bridge.centre.shape, generator=draw))
        bridge.usual.copy_(0.01 + 0.3 * torch.rand(bridge.usual.shape, generator=draw))
    return model


def model(audio: str = "cnn14", labels: int = 3) -> ClapModel:
    """A bridge in evaluation mode."""
    return fill(tiny.model(bridged(tiny.config(audio), labels)))


def yamnet_variables() -> dict[tuple[int, str], np.ndarray]:
    """The recipe's weights, in the shapes that TensorFlow's graph has them."""
    with np.load(YAMNET) as golden:
        shapes = json.loads(str(golden["shapes"]))
    places = {key: key.split("/") for key in shapes}
    return {
        (int(layer), name): recipe.yamnet(int(layer), name, tuple(shapes[key]))
        for key, (layer, name) in places.items()
    }


def yamnet(labels: int = 3) -> ClapModel:
    """A bridge that hears as TensorFlow's graph does with the recipe's weights."""
    tags = tuple(f"sound {i}" for i in range(521))
    samples = SECONDS * YAMNET_MEL.sample_rate
    spec = AudioSpec(YAMNET_MEL.sample_rate, samples, samples, "repeat", False, YAMNET_MEL)
    config = replace(
        tiny.config(), audio=spec, audio_encoder=AudioEncoderConfig(yamnet=YamnetConfig())
    )
    made = ClapModel(bridged(config, labels, tags)).eval()
    state = convert.fold(yamnet_variables())
    own = made.state_dict()
    for name, value in state.items():
        head = name.startswith("classifier.")
        own[name.replace("classifier", "bridge.head") if head else f"audio_encoder.{name}"] = value
    made.load_state_dict(own)
    return fill(made)


def checkpoint(made: ClapModel) -> Checkpoint:
    """As a loader returns it."""
    source = Source("native", "tiny.safetensors", "0" * 64, "MIT")
    return Checkpoint(made, tiny.tokenizer().to_str(), source)
