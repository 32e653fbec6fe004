"""A request's work beside its client: it ends when that leaves, at its deadline, or when done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future
from typing import TypeVar

from starlette.requests import Request

from clap_export.serve.problems import Problem
from clap_export.serve.receiving import Gone
from clap_export.serve.scheduler import Cancelled, Late
from clap_export.serve.service import Service
from clap_export.serve.work import Work

T = TypeVar("T")
HEADER = "x-deadline-ms"


def work_of(request: Request, service: Service) -> Work:
    """The work on a request, with the deadline that it names.

    Raises:
        Problem: 422, it names none.
    """
    most = service.limits.deadline
    text = request.headers.get(HEADER)
    if text is None:
        return Work(most)
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 10 and int(text) > 0):
        raise Problem(
            422, "deadline", "X-Deadline-Ms is a whole number of milliseconds, from 1 to 999999999."
        )
    return Work(min(most, int(text) / 1000))


async def beside(request: Request, work: Work, doing: Awaitable[T]) -> T:
    """Wait for work, as long as its client does, and no longer than its deadline.

    Raises:
        Late: the deadline is over.
        Gone: the client has left.
    """
    task = asyncio.ensure_future(doing)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait(
            {task, gone}, timeout=max(0.0, work.left), return_when=asyncio.FIRST_COMPLETED
        )
        if task.done():
            return task.result()
        raise Gone if gone.done() else Late
    finally:
        gone.cancel()
        if not task.done():
            work.stop()
            task.cancel()


async def in_thread(pool: Executor, work: Work, call: Callable[[], T]) -> T:
    """A call in a thread; the work is stopped when nobody waits for it any more."""
    future = submitted(pool, call)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        work.stop()
        raise


def submitted(pool: Executor, call: Callable[[], T]) -> Future[T]:
    """Start a call in a thread.

    Raises:
        Cancelled: the server is ending.
    """
    try:
        return pool.submit(call)
    except RuntimeError:  # it was shut down
        raise Cancelled from None


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
