"""The JSON Schema that lies in a kit fits its document, its questions and their answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clap_export.conformance import kit
from runtime.conformance.__main__ import answered

jsonschema = pytest.importorskip("jsonschema")


@pytest.fixture(scope="module")
def schema(kit_folder: Path) -> dict[str, Any]:
    found = json.loads((kit_folder / kit.SCHEMA).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(found)
    return found


def fits(schema: dict[str, Any], name: str, value: object) -> bool:
    whole = {**schema, "$ref": f"#/$defs/{name}"}
    return jsonschema.Draft202012Validator(whole).is_valid(value)


def test_the_document_fits(schema: dict[str, Any], kit_folder: Path) -> None:
    table = json.loads((kit_folder / kit.DOCUMENT).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(table)
    for change in ({"colour": 1}, {"format_version": 2}, {"cases": []}):
        assert not fits(schema, "kit", {**table, **change})
    case = next(case for case in table["cases"] if "expected" in case)
    for change in ({"task": "dance"}, {"error": {"code": "audio", "message": "x"}}, {"id": 3}):
        assert not fits(schema, "case", {**case, **change})
    assert not fits(schema, "case", {k: v for k, v in case.items() if k != "tolerance"})
    assert not fits(schema, "tolerance", {"kind": "absolute"})
    assert not fits(schema, "tolerance", {"kind": "exact", "limit": 1})


def test_questions_and_answers_fit(schema: dict[str, Any], kit_folder: Path) -> None:
    wanted = {"space", "decode", "tokens", "listen", "bank"}
    for case in kit.read(kit_folder).cases:
        if case.task not in wanted:
            continue
        request = {
            "id": case.id, "task": case.task, "kit": str(kit_folder), "input": case.input
        }  # fmt: skip
        assert fits(schema, "request", request)
        answer = answered(json.dumps(request).encode(), "cpu")
        assert fits(schema, "answer", answer), answer
        assert not fits(schema, "answer", {**answer, "skipped": "too"})
    assert fits(schema, "answer", {"id": "x", "skipped": "why"})
    bad = {"dtype": "float32", "shape": [1], "file": "arrays/0000.bin"}
    assert not fits(schema, "answer", {"id": "x", "outputs": {"samples": bad}})
    assert not fits(schema, "answer", {"id": "x", "error": {"code": "odd", "message": "x"}})
