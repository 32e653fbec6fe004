"""Triton's own protobuf definitions, from tritonclient's wheel: what they parse, Triton reads."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest


def definitions() -> Any:
    """The module ``model_config_pb2``, by its file: its package would ask for gRPC."""
    found = importlib.util.find_spec("tritonclient")
    if found is None or not found.submodule_search_locations:
        pytest.skip("Triton's protobuf definitions are not here: pip install tritonclient")
    path = Path(found.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parsed(text: str) -> Any:
    """A configuration; fields that Triton does not know are an error of the parser."""
    from google.protobuf import text_format

    return text_format.Parse(text, definitions().ModelConfig())


def read(model: Path) -> Any:
    """The configuration in a model's folder."""
    return parsed((model / "config.pbtxt").read_text("utf-8"))
