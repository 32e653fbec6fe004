"""What endpoints share: where the service is, and what OpenAPI tells of all of them."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from clap_export.serve.answers import Refused
from clap_export.serve.options import parameters_of
from clap_export.serve.problems import Problem
from clap_export.serve.service import Service

REASONS = {
    400: "The body is cut off, or no form.",
    401: "No key, or a wrong one.",
    403: "From another site's page, or not allowed.",
    404: "There is no such thing.",
    408: "The body comes too slowly.",
    409: "A bank that cannot be used, or words where there is no text encoder.",
    413: "The body is too large, or the recording too long.",
    415: "Not JSON.",
    422: "The recording, the labels or an option cannot be used.",
    429: "There is no room now: come again after Retry-After seconds.",
    503: "The server is ending, or its engine failed.",
    504: "The deadline is over.",
}


def refused(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What an endpoint refuses, for OpenAPI, beside what every one does."""
    return {
        status: {"model": Refused, "description": REASONS[status]}
        for status in sorted({401, 403, 422, *statuses})
    }


DEADLINE = {
    "name": "X-Deadline-Ms", "in": "header", "required": False,
    "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
    "description": "Milliseconds after which the answer is of no use.",
}  # fmt: skip
FILE = {
    "type": "string", "format": "binary",
    "description": "The recording. What may stand in the query may be fields of the form.",
}  # fmt: skip


def recording_of(options: type[BaseModel]) -> dict[str, Any]:
    """What OpenAPI tells of a request with a recording."""
    form = {"type": "object", "required": ["file"], "properties": {"file": FILE}}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            },
        },
        "parameters": [*parameters_of(options), DEADLINE],
    }


HEARD = refused(400, 404, 408, 409, 413, 429, 503, 504)


def service_of(request: Request) -> Service:
    """The service that an app was made for."""
    return request.app.state.service


class Answer(Response):
    """JSON on its way to a client, whose bytes are counted until it has them.

    Args:
        service: that has room for so many.
        document: to be sent.
        status: of HTTP.

    Raises:
        Problem: 429, too many answers have not been taken.
    """

    def __init__(self, service: Service, document: object, status: int = 200) -> None:
        body = json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8")
        self._room, self._size = service.answers, len(body)
        if not self._room.take(self._size):
            raise Problem(429, "busy", "answers wait to be taken: try again in 5 s.", 5)
        super().__init__(body, status, media_type="application/json")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._room.give(self._size)
