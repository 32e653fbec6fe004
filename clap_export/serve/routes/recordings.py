"""A request with a recording: let in, received, and heard when it is its turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from typing import Any, Generic, TypeVar

from fastapi import Request
from pydantic import BaseModel

from clap_export.serve import receiving
from clap_export.serve.admission import LARGE, Turn
from clap_export.serve.options import pairs_of, read
from clap_export.serve.routes.common import service_of
from clap_export.serve.running import submitted, work_of
from clap_export.serve.service import Longer
from clap_export.serve.uploads import Upload
from clap_export.serve.work import Work

Options = TypeVar("Options", bound=BaseModel)
T = TypeVar("T")


class Recording(Generic[Options]):
    """One; to be closed.

    Args:
        request: of HTTP.
        kind: of its options.

    Attributes:
        service: that hears it.
        work: on it.
        upload: the recording.
        options: of its query; with those of its form, when it is received.

    Raises:
        Problem: it has options or a deadline that are none.
    """

    def __init__(self, request: Request, kind: type[Options]) -> None:
        self._query = pairs_of(request.scope["query_string"])
        self.service, self.options = service_of(request), read(kind, self._query)
        self._request, self._inside = request, ExitStack()
        stated = request.headers.get("content-length", "")
        # Of unknown length: whoever sends a long one would say nothing.
        self._large = not stated.isdecimal() or int(stated) >= LARGE
        self.work: Work = work_of(request, self.service)
        self.upload: Upload = self.service.uploads.new()
        self._future: Future[Any] | None = None

    async def receive(self) -> None:
        """Come in, before any memory is taken, and receive the body.

        Raises:
            Problem: it is refused.
            Late: the deadline is over.
            Gone: the client has left.
        """
        service = self.service
        self._inside.enter_context(service.door.enter())
        if self._large:
            self._inside.enter_context(service.large.enter())
        with service.metrics.stage("receive"):
            fields = await receiving.recording(
                self._request, self.upload, service.limits, self.work
            )
        if fields:
            self.options = read(type(self.options), self._query, fields)

    async def heard(self, hear: Callable[[Turn], T]) -> T:
        """Have it heard in a thread, in its turn.

        Args:
            hear: called again where a recording turned out to be long too early.

        Raises:
            Exception: whatever ``hear`` raises.
        """
        service, kind = self.service, "long" if self._large else "quick"
        while True:
            with service.metrics.stage("wait"):
                turn = await service.turns.take(kind)
            try:
                self._future = submitted(service.threads, partial(hear, turn))
            except BaseException:
                turn.close()
                raise
            self._future.add_done_callback(partial(_close, turn))
            try:
                with service.metrics.stage("hear"):
                    return await asyncio.wrap_future(self._future)
            except Longer:
                kind = "long"

    def close(self) -> None:
        """Leave; what a thread still has is let go of when that is done."""
        self.work.stop()
        self._inside.close()
        if self._future is None:
            self.upload.close()
        else:  # at once, where it is done
            self._future.add_done_callback(partial(_close, self.upload))

    def __enter__(self) -> Recording[Options]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close(what: Turn | Upload, _: object) -> None:
    what.close()
