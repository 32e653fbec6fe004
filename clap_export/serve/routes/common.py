"""What endpoints share: where the service is, what they refuse, and how a recording comes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Generic, TypeVar

from fastapi import Request
from pydantic import BaseModel

from clap_export.serve import receiving
from clap_export.serve.admission import LARGE, Turn
from clap_export.serve.answers import Refused
from clap_export.serve.options import merged
from clap_export.serve.running import in_turn, work_of
from clap_export.serve.service import Service
from clap_export.serve.uploads import Upload
from clap_export.serve.work import Work

Options = TypeVar("Options", bound=BaseModel)
T = TypeVar("T")

REASONS = {
    400: "The body is cut off, or no form.",
    401: "No key, or a wrong one.",
    403: "From another site's page, or not allowed.",
    404: "There is no such thing.",
    408: "The body comes too slowly.",
    409: "A bank that cannot be used.",
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
RECORDING: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "required": ["file"], "properties": {"file": FILE}}
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    "parameters": [DEADLINE],
}
HEARD = refused(400, 404, 408, 409, 413, 429, 503, 504)


def service_of(request: Request) -> Service:
    """The service that an app was made for."""
    return request.app.state.service


class Recording(Generic[Options]):
    """A request with a recording: let in, received, and heard in its turn; to be closed.

    Args:
        request: of HTTP.
        options: of its query.

    Attributes:
        work: on it.
        upload: the recording.
        options: with those of its form, when it is received.
    """

    def __init__(self, request: Request, options: Options) -> None:
        self.service, self.options = service_of(request), options
        self._request, self._inside = request, ExitStack()
        stated = request.headers.get("content-length", "")
        self._large = not stated.isdecimal() or int(stated) >= LARGE
        self.work: Work = work_of(request, self.service)
        self.upload: Upload = self.service.uploads.new()

    async def receive(self) -> None:
        """Come in, before any memory is taken, and receive the body.

        Raises:
            Problem: it is refused.
            Gone: the client has left.
        """
        service = self.service
        try:
            self._inside.enter_context(service.door.enter())
            if self._large:
                self._inside.enter_context(service.large.enter())
            with service.metrics.stage("receive"):
                got = await receiving.recording(self._request, self.upload, service.limits)
            self.work.check()
            self.options = merged(self.options, got.fields)
        except BaseException:
            self.upload.close()
            self.close()
            raise

    async def heard(self, hear: Callable[[Turn], T]) -> T:
        """Have it heard in a thread, once; the recording is closed behind that."""
        return await in_turn(self.service, self.work, self.upload, self._large, hear)

    def close(self) -> None:
        """Leave."""
        self._inside.close()

    async def __aenter__(self) -> Recording[Options]:
        await self.receive()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
