"""What is wrong with a request: its status, a name for programs, and a sentence for people."""

from __future__ import annotations

import re
from typing import Any

from clap_export.serve.scheduler import Cancelled, Late
from clap_export.serve.uploads import NoDisk, NoRoom
from runtime.audio.limit import TooLong
from runtime.errors import AudioError, BackendError, BundleError, ClapError, LabelError

# How the runtime calls an upload: bytes in memory, or a private file.
PLACE = re.compile(
    r"the audio file in memory \(\d+ bytes\)|'/proc/self/fd/\d+'|'[^']*clap-audio-[^']*'"
)


class Problem(Exception):
    """A request that is refused.

    Args:
        status: of HTTP.
        kind: a name that does not change.
        sentence: what was asked, what was found, what to do.
        retry_after: seconds after which to try again.
    """

    def __init__(
        self, status: int, kind: str, sentence: str, retry_after: int | None = None
    ) -> None:
        super().__init__(sentence)
        self.status, self.kind, self.sentence = status, kind, sentence
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}

    def document(self, request_id: str) -> dict[str, Any]:
        """The answer's body; of the form that clients of OpenAI's API read."""
        error = {"type": self.kind, "message": self.sentence, "request_id": request_id}
        return {"error": {**error, "code": self.kind, "param": None}}


FAULT = Problem(
    500, "fault", "this is a fault of the server: its log has more, under the request's id."
)
MISSING = Problem(
    404, "missing", "there is no such address: GET /openapi.json lists those that there are."
)


def without_place(sentence: str) -> str:
    """A sentence of the runtime on an upload: where that lies on this machine is nobody's
    business."""
    return PLACE.sub("the recording", sentence)


def late() -> Problem:
    """The deadline is over."""
    return Problem(504, "deadline", "the deadline is over: give it more time, or send less.")


def of(error: BaseException) -> Problem | None:
    """An error of the work on a request; None for a fault of ours."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Late):
        return late()
    if isinstance(error, Cancelled):
        return Problem(503, "ending", "the server is ending: try again in a while.", 5)
    if isinstance(error, NoRoom):
        return Problem(429, "busy", "there is no room for this upload now: try again.", 5)
    if isinstance(error, NoDisk):
        return Problem(503, "disk", "the server's disk has no room for this upload: try later.", 60)
    if not isinstance(error, ClapError):
        return None
    sentence = without_place(str(error))
    if isinstance(error, TooLong):
        return Problem(413, "too_long", sentence)
    if isinstance(error, AudioError):
        return Problem(422, "audio", sentence)
    if isinstance(error, LabelError):
        return Problem(422, "labels", sentence)
    if isinstance(error, BackendError):
        return Problem(503, "engine", "the engine failed: try again, or look at the server's log.")
    if isinstance(error, BundleError):
        return Problem(409, "space", sentence)
    return Problem(422, "options", sentence)
