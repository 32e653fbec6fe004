"""Types are read from what TensorRTs say of networks and engines."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from clap_export.engine import layers


def report(*kinds: str) -> str:
    """An engine inspector's JSON: one layer for each output type."""
    made = [
        {
            "Name": f"layer {i}",
            "LayerType": "gemm",
            "Inputs": [{"Name": "x", "Dimensions": [1, 8], "Format/Datatype": "Int64"}],
            "Outputs": [{"Name": "y", "Dimensions": [1, 8], "Format/Datatype": kind}],
        }
        for i, kind in enumerate(kinds)
    ]
    return json.dumps({"Layers": made, "Bindings": ["x", "y"]})


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Half", "HALF"),  # TensorRT 10 and 11
        ("Float", "FLOAT"),
        ("FP32", "FLOAT"),
        ("FP16", "HALF"),
        ("Row major linear FP16 format", "HALF"),  # 8.6
        ("Row major linear FP32", "FLOAT"),
        ("Two wide channel vectorized row major FP16 format", "HALF"),
        ("Channel major FP16 format where channel % 8 == 0", "HALF"),
        ("Row major Int8 format", "other"),
        ("Int64", "other"),
        ("Bool", "other"),
        ("BFloat16", "other"),
        ("N/A due to dynamic shapes", "other"),
    ],
)
def test_words_for_a_type(said: str, kind: str) -> None:
    assert layers.of_engine(report(said)) == {kind: 1}


def test_layers_are_counted_by_their_first_output() -> None:
    text = report("Half", "Half", "Float", "N/A due to dynamic shapes")
    assert layers.of_engine(text) == {"FLOAT": 1, "HALF": 2, "other": 1}
    both = json.loads(report("Half"))
    both["Layers"][0]["Outputs"].append({"Name": "z", "Format/Datatype": "Float"})
    assert layers.of_engine(json.dumps(both)) == {"HALF": 1}


def test_layers_that_are_only_named_tell_nothing() -> None:
    assert layers.of_engine(json.dumps({"Layers": ["one", "two"], "Bindings": []})) == {}
    assert layers.of_engine(json.dumps({"Layers": [{"Name": "no outputs"}]})) == {}
    assert layers.of_engine("{}") == {}


class Network:
    """Layers given as (type, type of output, name of output)."""

    def __init__(self, *made: tuple[str, str, str]) -> None:
        self.made = made
        self.num_layers = len(made)

    def get_layer(self, i: int) -> Any:
        kind, dtype, name = self.made[i]
        output = SimpleNamespace(name=name, dtype=SimpleNamespace(name=dtype))
        return SimpleNamespace(
            type=SimpleNamespace(name=kind), num_outputs=1, get_output=lambda _: output
        )


FRONTEND = [
    ("CONVOLUTION", "FLOAT", "spectrum"), ("SHAPE", "INT64", "shape"),
    ("MATRIX_MULTIPLY", "FLOAT", "mel"), ("SHUFFLE", "FLOAT", "log_mel"),
]  # fmt: skip
ENCODER = [
    ("MATRIX_MULTIPLY", "FLOAT", "stretched"), ("CAST", "HALF", "cast"),
    ("CONVOLUTION", "HALF", "a"), ("NORMALIZATION", "FLOAT", "b"), ("MATRIX_MULTIPLY", "HALF", "c"),
    ("MATRIX_MULTIPLY", "HALF", "d"),
]  # fmt: skip


def test_types_of_a_network_and_of_its_frontend() -> None:
    network = Network(*FRONTEND, *ENCODER)
    assert layers.of_network(network) == {"FLOAT": 5, "HALF": 4, "INT64": 1}
    assert layers.of_frontend(network) == {"FLOAT": 3, "INT64": 1}
    assert layers.of_frontend(Network(*ENCODER)) == {}


def test_the_frontends_products_do_not_count_as_the_encoders() -> None:
    assert layers.half_products(Network(*FRONTEND, *ENCODER)) == 3 / 4
    assert layers.half_products(Network(*ENCODER)) == 3 / 4  # a text graph has no frontend
    assert layers.half_products(Network(*FRONTEND)) == 0
