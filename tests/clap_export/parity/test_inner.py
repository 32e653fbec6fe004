"""What is appended to a graph is what onnx reads from it."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from clap_export.parity.inner import with_output
from runtime.manifest import LOG_MEL


def test_onnx_reads_one_output_more_and_all_else_alike(exported_bundle: Path) -> None:
    raw = (exported_bundle / "audio.onnx").read_bytes()
    found = onnx.load_model_from_string(with_output(raw, LOG_MEL))
    wanted = onnx.load_model_from_string(raw)
    wanted.graph.output.append(onnx.ValueInfoProto(name=LOG_MEL))
    assert found == wanted


def test_a_name_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        with_output(b"", "x" * 126)
