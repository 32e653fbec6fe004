"""Bodies of JSON: bounded, parsed once, and read strictly."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from clap_export.serve import receiving
from clap_export.serve.limits import Limits
from clap_export.serve.options import invalid
from clap_export.serve.problems import Problem
from runtime import schema
from runtime.errors import SchemaError

Model = TypeVar("Model", bound=BaseModel)


async def document(request: Request, kind: type[Model], limits: Limits) -> Model:
    """A request's document.

    Raises:
        Problem: it is too large, too slow, no JSON, or has not these fields.
        Gone: the client has left.
    """
    data = await receiving.json_bytes(request, limits)
    try:
        return kind.model_validate(schema.read_json(data, "the body", SchemaError), strict=True)
    except SchemaError as error:
        raise Problem(422, "json", str(error)) from error
    except ValidationError as error:
        raise invalid(error.errors(include_url=False)) from error


def openapi_of(kind: type[BaseModel]) -> dict[str, Any]:
    """What OpenAPI tells of such a body."""
    media = {"schema": kind.model_json_schema(ref_template="#/components/schemas/{model}")}
    return {"requestBody": {"required": True, "content": {"application/json": media}}}
