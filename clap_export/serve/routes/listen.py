"""``WS /v1/listen``: samples in, segments and events out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import TimeoutError as TooSlow
from functools import partial
from typing import Any, TypeVar

import numpy as np
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers

from clap_export.serve import problems
from clap_export.serve.gate import key_of
from clap_export.serve.log import log_fault
from clap_export.serve.options import invalid
from clap_export.serve.problems import Problem
from clap_export.serve.scheduler import Cancelled
from clap_export.serve.service import Service
from clap_export.serve.streams import End, Gap, LabelOptions, Listening, ListenOptions
from clap_export.serve.work import Work
from runtime import LabelBank, schema
from runtime.errors import SchemaError
from runtime.listening.backlog import Backlog, Piece, Stopped

router = APIRouter()
WAITING = 2.0  # seconds of samples that wait, where none are dropped
TRY_LATER, REFUSED, FAULTY, LEAVING = 1013, 1008, 1011, 1001

Model = TypeVar("Model", bound=BaseModel)


@router.websocket("/v1/listen")
async def listen(socket: WebSocket) -> None:
    """The first message is JSON (:class:`ListenOptions`); then come samples as binary messages, and
    ``{"type": "gap" | "labels" | "end", …}`` between them."""
    service: Service = socket.app.state.service
    await socket.accept()
    try:
        with service.streams.enter():
            await _listen(socket, service)
        await socket.close(LEAVING if service.draining else 1000)
    except (WebSocketDisconnect, Cancelled):
        return
    except Exception as error:
        await _refuse(socket, error)


async def _listen(socket: WebSocket, service: Service) -> None:
    options = await _first(socket, service)
    work = Work(service.limits.deadline)
    bank = await _in_thread(service, partial(_bank, service, options, work))
    listening = Listening(service, options, bank)
    backlog = Backlog(options.backlog or WAITING, drop=options.backlog is not None)
    service.backlogs.add(backlog)
    loop, patience = asyncio.get_running_loop(), service.limits.idle

    def tell(message: dict[str, Any]) -> None:
        sending = asyncio.run_coroutine_threadsafe(socket.send_json(message), loop)
        try:
            sending.result(patience)
        except TooSlow:  # nobody reads
            sending.cancel()
            raise Cancelled from None

    def hear() -> None:
        try:
            for piece in backlog:
                for message in listening.hear(piece.samples, piece.gap):
                    tell(message)
        finally:
            for message in listening.finish():
                tell(message)
        tell(listening.summary(backlog.dropped))

    await socket.send_json({"type": "listening", "labels": list(bank.names)})
    hearing = loop.run_in_executor(service.stream_threads, hear)
    reading = asyncio.ensure_future(_read(socket, service, listening, backlog, options))
    try:
        await asyncio.wait({hearing, reading}, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            error = reading.exception()
            if error is not None:
                backlog.stop()
                raise error
        await hearing
    finally:
        backlog.stop()
        service.backlogs.discard(backlog)
        reading.cancel()
        await asyncio.wait({hearing})
        # That it could tell nobody any more is no fault; asyncio would print one that is not taken.
        if not hearing.cancelled():
            hearing.exception()


async def _first(socket: WebSocket, service: Service) -> ListenOptions:
    try:
        message = await asyncio.wait_for(socket.receive(), service.limits.idle)
    except asyncio.TimeoutError:
        raise Problem(408, "slow", "the first message did not come.") from None
    options = _model(message, ListenOptions)
    access, headers = socket.app.state.access, Headers(scope=socket.scope)
    if key_of(headers) is None:
        access.check_key(None if options.key is None else options.key.encode())
    return options


async def _read(
    socket: WebSocket, service: Service, listening: Listening, backlog: Backlog,
    options: ListenOptions,
) -> None:  # fmt: skip
    """Takes messages until the end; what cannot wait is waited for."""
    try:
        while True:
            message = await asyncio.wait_for(socket.receive(), service.limits.silence)
            if message.get("bytes") is not None:
                await _put(backlog, Piece(listening.samples(message["bytes"]), options.rate))
                continue
            told = _control(message)
            kind = told.pop("type", None)
            if kind == "end":
                _checked(told, End)
                backlog.end()
                return
            if kind == "gap":
                gap, empty = _checked(told, Gap), np.empty((options.channels, 0), np.float32)
                await _put(backlog, Piece(empty, options.rate, gap.seconds))
            elif kind == "labels":
                asked, work = _checked(told, LabelOptions), Work(service.limits.deadline)
                bank = await _in_thread(service, partial(_bank, service, asked, work))
                listening.exchange(bank)
            else:
                raise Problem(422, "message", "send a message of type gap, labels or end.")
    except asyncio.TimeoutError:
        raise Problem(408, "slow", "no samples came for too long.") from None
    except Stopped:
        return


async def _put(backlog: Backlog, piece: Piece) -> None:
    if backlog.has_room(piece):
        backlog.put(piece)
    else:
        await asyncio.to_thread(backlog.put, piece)


def _bank(service: Service, options: LabelOptions, work: Work) -> LabelBank:
    return service.bank(options.labels or (), options.bank, options.templates, work)


async def _in_thread(service: Service, call: Callable[[], LabelBank]) -> LabelBank:
    return await asyncio.get_running_loop().run_in_executor(service.text_threads, call)


def _control(message: Any) -> dict[str, Any]:
    """A message of text.

    Raises:
        WebSocketDisconnect: it says that the client has left.
        Problem: it is no JSON object.
    """
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    text = message.get("text")
    if text is None:
        raise Problem(422, "json", "the first message is JSON, as text.")
    try:
        found = schema.read_json(text.encode("utf-8", "surrogatepass"), "the message", SchemaError)
    except SchemaError as error:
        raise Problem(422, "json", str(error)) from error
    if not isinstance(found, dict):
        raise Problem(422, "json", "a message is a JSON object.")
    return found


def _model(message: Any, kind: type[Model]) -> Model:
    return _checked(_control(message), kind)


def _checked(values: dict[str, Any], kind: type[Model]) -> Model:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False)) from error


async def _refuse(socket: WebSocket, error: Exception) -> None:
    """Say what is wrong, and close."""
    problem = problems.of(error)
    if problem is None:
        log_fault(socket.state.request_id, error)
        problem = problems.FAULT
    code = {429: TRY_LATER, 500: FAULTY, 503: LEAVING}.get(problem.status, REFUSED)
    try:
        document = problem.document(socket.state.request_id)
        await socket.send_json({"type": "error", "status": problem.status, **document})
        await socket.close(code, problem.kind)
    except (RuntimeError, WebSocketDisconnect):  # it has left
        return
