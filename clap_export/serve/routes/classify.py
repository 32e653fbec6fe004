"""``POST /v1/classify``: answered at the end, or told while it is heard."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import TimeoutError as TooSlow
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from clap_export.serve import problems
from clap_export.serve.admission import Turn
from clap_export.serve.answers import Classified
from clap_export.serve.classifying import Tell, classify
from clap_export.serve.log import log_fault
from clap_export.serve.options import ClassifyOptions
from clap_export.serve.routes.common import HEARD, RECORDING, Recording
from clap_export.serve.running import beside
from clap_export.serve.scheduler import Cancelled

router = APIRouter()
EVENTS = "text/event-stream"
AHEAD = 64  # events that wait for a slow reader
ALIVE = 10.0  # seconds after which something is sent, whatever happens

Event = tuple[str, dict[str, Any]]


@router.post(
    "/v1/classify", response_model=Classified, responses=HEARD, openapi_extra=RECORDING,
    tags=["recordings"], summary="Classify a recording",
)  # fmt: skip
async def classify_recording(
    request: Request, options: Annotated[ClassifyOptions, Query()]
) -> Response:
    """The recording is the body, or the part `file` of a form; of any format and length.

    With `Accept: text/event-stream` the answer is told while it is heard: `progress`, with
    `timeline` each `segment`, and last the `result` or an `error`.
    """
    recording = Recording(request, options)
    if EVENTS in request.headers.get("accept", ""):
        await recording.receive()
        events = _events(recording, request.state.request_id)
        return StreamingResponse(events, media_type=EVENTS, headers={"X-Accel-Buffering": "no"})
    async with recording:
        hearing = recording.heard(partial(_hear, recording, None))
        return JSONResponse(await beside(request, recording.work, hearing))


def _hear(recording: Recording[ClassifyOptions], tell: Tell | None, turn: Turn) -> dict[str, Any]:
    r = recording
    return classify(r.service, r.work, turn, r.upload, r.options, tell)


async def _events(recording: Recording[ClassifyOptions], request_id: str) -> AsyncIterator[bytes]:
    """Server-sent events; whoever reads them holds up the work."""
    loop, waiting = asyncio.get_running_loop(), asyncio.Queue[Event | None](AHEAD)
    patience = recording.service.limits.idle

    def tell(name: str, data: dict[str, Any]) -> None:
        recording.work.check()
        try:
            asyncio.run_coroutine_threadsafe(waiting.put((name, data)), loop).result(patience)
        except TooSlow:  # nobody reads
            raise Cancelled from None

    async def work() -> None:
        try:
            hearing = recording.heard(partial(_hear, recording, tell))
            event = "result", await asyncio.wait_for(hearing, max(0.0, recording.work.left))
        except asyncio.TimeoutError:
            recording.work.stop()
            event = "error", _document(problems.late(), request_id)
        except Exception as error:
            problem = problems.of(error)
            if problem is None:
                log_fault(request_id, error)
                problem = problems.FAULT
            event = "error", _document(problem, request_id)
        await waiting.put(event)
        await waiting.put(None)

    task = asyncio.create_task(work())
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
        recording.work.stop()
        task.cancel()
        recording.close()


def _document(problem: problems.Problem, request_id: str) -> dict[str, Any]:
    return {**problem.document(request_id), "status": problem.status}
