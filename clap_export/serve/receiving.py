"""Bodies as they come over the network: so many bytes, in so much time, and no more."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator

from anyio import fail_after
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from clap_export.serve.limits import DOCUMENT, MIB, Limits
from clap_export.serve.multipart import Form
from clap_export.serve.problems import Problem
from clap_export.serve.scheduler import Late
from clap_export.serve.uploads import Upload
from clap_export.serve.work import Work

TO_DISK = 1 * MIB  # bytes that are written at once


class Gone(Exception):
    """The client has left: nobody reads an answer."""


async def recording(
    request: Request, upload: Upload, limits: Limits, work: Work
) -> list[tuple[str, str]]:
    """Receive a recording: the body itself, or the part ``file`` of a form.

    Returns:
        the other fields of the form.

    Raises:
        Problem: too large, too slow, or no form.
        Late: the deadline is over.
        Gone: the client has left.
    """
    content_type = request.headers.get("content-type", "")
    form = Form(content_type, upload.write) if _is_form(content_type) else None
    write = upload.write if form is None else form.write
    held, size = list[bytes](), 0
    async for piece in pieces(request, limits.body, limits, work.deadline):
        if not held and upload.fits(len(piece)):
            write(piece)
            continue
        # The disk may be slow, and others wait for this thread.
        held.append(piece)
        size += len(piece)
        if size >= TO_DISK:
            await run_in_threadpool(write, b"".join(held))
            held, size = [], 0
    if held:
        await run_in_threadpool(write, b"".join(held))
    if form is None:
        return []
    form.close()
    if not form.has_file:
        raise Problem(400, "form", "the form has no part 'file': send the recording as that.")
    return form.fields


async def json_bytes(request: Request, limits: Limits) -> bytes:
    """Receive a small document.

    Raises:
        Problem: too large, too slow, or not said to be JSON.
        Gone: the client has left.
    """
    # No other site's page can send this type without asking first.
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, "type", "send JSON, with Content-Type: application/json.")
    return b"".join([piece async for piece in pieces(request, DOCUMENT, limits)])


async def pieces(
    request: Request, most: int, limits: Limits, deadline: float = math.inf
) -> AsyncIterator[bytes]:
    """The body as it comes.

    Raises:
        Problem: 413 as soon as it is known to be too large, 408 when it is too slow.
        Late: the deadline is over.
        Gone: the client has left.
    """
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > most:
        raise _too_large(most)
    end, size = time.monotonic() + limits.upload, 0
    while True:
        now = time.monotonic()
        left = min(limits.idle, end - now, deadline - now)
        try:
            with fail_after(max(0.001, left)):
                message = await request.receive()
        except TimeoutError:
            if time.monotonic() >= deadline:
                raise Late from None
            raise Problem(
                408, "slow", f"the body did not come: {limits.idle:g} s may pass without a byte "
                f"of it, and {limits.upload:g} s in all.",
            ) from None  # fmt: skip
        if message["type"] == "http.disconnect":
            raise Gone
        piece = message.get("body", b"")
        size += len(piece)
        if size > most:
            raise _too_large(most)
        if piece:
            yield piece
        if not message.get("more_body", False):
            return


def _is_form(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def _too_large(most: int) -> Problem:
    return Problem(413, "too_large", f"the body has more than the {most} bytes that are taken.")
