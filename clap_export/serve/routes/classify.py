"""``POST /v1/classify``: answered at the end, or told while it is heard."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import TimeoutError as TooSlow
from contextlib import ExitStack
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from clap_export.serve import problems
from clap_export.serve.admission import Turn
from clap_export.serve.answers import Classified
from clap_export.serve.classifying import Tell, classify
from clap_export.serve.log import log_fault
from clap_export.serve.options import ClassifyOptions
from clap_export.serve.routes.common import HEARD, Answer, recording_of
from clap_export.serve.routes.recordings import Recording
from clap_export.serve.running import beside
from clap_export.serve.scheduler import Cancelled

router = APIRouter()
EVENTS = "text/event-stream"
AHEAD = 8  # events that wait for a slow reader
ALIVE = 10.0  # seconds after which something is sent, whatever happens

Event = tuple[str, dict[str, Any]]


@router.post(
    "/v1/classify", response_model=Classified, responses=HEARD,
    openapi_extra=recording_of(ClassifyOptions), tags=["recordings"],
    summary="Classify a recording",
)  # fmt: skip
async def classify_recording(request: Request) -> Response:
    """The recording is the body, or the part `file` of a form; of any format and length.

    With `Accept: text/event-stream` the answer is told while it is heard: `progress`, with
    `timeline` each `segment`, and last the `result` or an `error`.
    """
    with ExitStack() as held:
        recording = held.enter_context(Recording(request, ClassifyOptions))
        await recording.receive()
        if EVENTS in request.headers.get("accept", ""):
            return _Told(recording, held.pop_all(), request.state.request_id)
        hearing = recording.heard(partial(_hear, recording, None))
        return Answer(recording.service, await beside(request, recording.work, hearing))


def _hear(recording: Recording[ClassifyOptions], tell: Tell | None, turn: Turn) -> dict[str, Any]:
    r = recording
    return classify(r.service, r.work, turn, r.upload, r.options, tell)


class _Told(StreamingResponse):
    """An answer of server-sent events.

    Args:
        recording: that was received.
        held: what is closed behind the last event.
        request_id: of the request.
    """

    def __init__(
        self, recording: Recording[ClassifyOptions], held: ExitStack, request_id: str
    ) -> None:
        self._recording, self._held, self._id = recording, held, request_id
        headers = {"X-Accel-Buffering": "no"}  # nginx would keep them back
        super().__init__(self._events(), media_type=EVENTS, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; what is held is let go of even where no event was ever asked for."""
        with self._held:
            await super().__call__(scope, receive, send)

    async def _events(self) -> AsyncIterator[bytes]:
        """Events as they come; whoever reads them slowly holds up the work."""
        waiting: asyncio.Queue[Event | None] = asyncio.Queue(AHEAD)
        task = asyncio.create_task(self._work(waiting))
        try:
            while True:
                try:
                    event = await asyncio.wait_for(waiting.get(), ALIVE)
                except asyncio.TimeoutError:
                    yield b": still at work\n\n"
                    continue
                if event is None:
                    return
                name, data = event
                yield f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
        finally:
            task.cancel()

    async def _work(self, waiting: asyncio.Queue[Event | None]) -> None:
        recording, loop = self._recording, asyncio.get_running_loop()
        patience = recording.service.limits.idle

        def tell(name: str, data: dict[str, Any]) -> None:
            recording.work.check()
            sending = asyncio.run_coroutine_threadsafe(waiting.put((name, data)), loop)
            try:
                sending.result(patience)
            except TooSlow:  # nobody reads
                sending.cancel()
                raise Cancelled from None

        hearing = recording.heard(partial(_hear, recording, tell))
        try:
            found = await asyncio.wait_for(hearing, max(0.001, recording.work.left))
            event = "result", found
        except asyncio.TimeoutError:
            recording.work.stop()
            event = "error", self._document(problems.late())
        except Exception as error:
            problem = problems.of(error)
            if problem is None:
                log_fault(self._id, error)
                problem = problems.FAULT
            event = "error", self._document(problem)
        await waiting.put(event)
        await waiting.put(None)

    def _document(self, problem: problems.Problem) -> dict[str, Any]:
        return {**problem.document(self._id), "status": problem.status}
