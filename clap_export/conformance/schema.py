"""The JSON Schema of a kit's document, of a question and of an answer (draft 2020-12).

It says what stands where; which inputs and outputs a task has is docs/conformance.md's to say.
"""

from __future__ import annotations

from typing import Any, get_args

from clap_export.conformance.kit import FORMAT, FORMAT_VERSION, Kind
from runtime.conformance.tasks import TASKS
from runtime.conformance.wire import TYPES

CODES = ("argument", "schema", "bundle", "audio", "label", "backend")


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    """A table of exactly these keys."""
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def _map_of(kind: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": kind}


_TEXT = {"type": "string"}
_ARRAY = {
    "dtype": {"enum": list(TYPES)},
    "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "maxItems": 8},
}
_VALUE = {"type": ["null", "boolean", "number", "string", "array", "object"]}

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Conformance kit of a clap-export bundle",
    "$ref": "#/$defs/kit",
    "$defs": {
        "kit": _object(
            {
                "format": {"const": FORMAT},
                "format_version": {"const": FORMAT_VERSION},
                "bundle": _TEXT,
                "space_id": _TEXT,
                "clip_space_id": _TEXT,
                "tools": _map_of(_TEXT),
                "cases": {"type": "array", "items": _ref("case"), "minItems": 1},
            }
        ),
        "case": {
            **_object(
                {"id": _TEXT, "task": _ref("task"), "input": _map_of(_VALUE)},
                expected=_map_of(_ref("in_kit")),
                tolerance=_map_of(_ref("tolerance")),
                error=_ref("error"),
                optional={"type": "boolean"},
            ),
            "oneOf": [{"required": ["expected", "tolerance"]}, {"required": ["error"]}],
        },
        "task": {"enum": list(TASKS)},
        "tolerance": {
            **_object(
                {"kind": {"enum": list(get_args(Kind))}},
                limit={"type": "number", "exclusiveMinimum": 0},
                seconds={"type": "number", "exclusiveMinimum": 0},
            ),
            "if": {"properties": {"kind": {"enum": ["exact", "presence"]}}},
            "then": {"maxProperties": 1},
            "else": {"required": ["limit"]},
        },
        "array_in_kit": _object({**_ARRAY, "file": _TEXT}),
        "array_in_answer": _object({**_ARRAY, "base64": {**_TEXT, "contentEncoding": "base64"}}),
        "in_kit": {
            "if": {"type": "object", "required": ["dtype"]},
            "then": _ref("array_in_kit"),
            "else": _VALUE,
        },
        "in_answer": {
            "if": {"type": "object", "required": ["dtype"]},
            "then": _ref("array_in_answer"),
            "else": _VALUE,
        },
        "error": _object({"code": {"enum": list(CODES)}, "message": {**_TEXT, "minLength": 1}}),
        "request": _object(
            {"id": _TEXT, "task": _ref("task"), "kit": _TEXT, "input": _map_of(_VALUE)}
        ),
        "answer": {
            "oneOf": [
                _object({"id": _TEXT, "outputs": _map_of(_ref("in_answer"))}),
                _object({"id": _TEXT, "error": _ref("error")}),
                _object({"id": _TEXT, "skipped": _TEXT}),
            ]
        },
    },
}
