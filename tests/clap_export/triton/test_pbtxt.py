"""Text that protobuf's own parser reads back as it was meant."""

from __future__ import annotations

import pytest

from clap_export.triton import pbtxt
from clap_export.triton.pbtxt import Bare
from tests.clap_export.triton.schema import parsed


def test_a_message_line_by_line() -> None:
    message = {
        "name": "a", "max_batch_size": 4, "optional": True, "dims": (1, -1), "none": [],
        "kind": Bare("KIND_CPU"), "reshape": {}, "input": [{"name": "x"}, {"name": "y"}],
    }  # fmt: skip
    assert pbtxt.text(message) == (
        'name: "a"\nmax_batch_size: 4\noptional: true\ndims: 1\ndims: -1\nkind: KIND_CPU\n'
        'reshape {\n}\ninput {\n  name: "x"\n}\ninput {\n  name: "y"\n}\n'
    )


@pytest.mark.parametrize(
    "text",
    ['"', "\\", 'a "quoted" \\n', "line\nline\ttab\r", "\x00\x7f", "Größe 音 🔔", "{}", "\\101"],
)
def test_any_text_comes_back(text: str) -> None:
    found = parsed(pbtxt.text({"parameters": {"key": "k", "value": {"string_value": text}}}))
    assert found.parameters["k"].string_value == text
