"""How much a server takes: of requests, of each of them, and so of memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.arguments import number, whole
from runtime.audio import check_max_seconds
from runtime.clips.clip import HELD
from runtime.errors import ClapError

if TYPE_CHECKING:
    from runtime.audio_spec import AudioSpec

MIB = 1 << 20
FLOAT = 4  # bytes of a sample
# Of a request that is heard: windows in the cutter, one that is cut, one in hand; and blocks on
# their way from a decoder through the resampler.
WINDOWS_IN_HAND = 5
DECODING = 24 * MIB
# Bytes on the way out: of a prediction, as an object and in JSON; of a number of an embedding, as
# float32, in base64, and in JSON.
PREDICTION, NUMBER = 800, 24
STREAM = 20 * MIB  # of samples that wait, as they came
CONNECTIONS = 1024  # that are open at a time
CONNECTION = MIB // 2  # bytes of one that were received, and not asked for yet
DOCUMENT = MIB // 2  # bytes of JSON, or of the fields of a form
PARSED = 6  # times that, as objects
# Of banks of labels that are kept at hand; a name has so many bytes at most.
LABELS_KEPT, BANKS_READ, NAME = 1 << 14, 32, 1100


@dataclass(frozen=True)
class Limits:
    """What is taken. Sizes are bytes, times seconds.

    Attributes:
        requests: that are in the server at a time, from their headers to their answers; more are
            refused with 429.
        quick: recordings that are heard at a time.
        long: long recordings that are heard at a time, beside those.
        listeners: streams that are listened to at a time.
        body: of a request.
        seconds: of a recording.
        texts: of a request: labels times templates, or texts to embed.
        rows: windows of a recording that are answered one by one, in a timeline or as embeddings.
        predictions: of an answer, of all its windows together.
        memory: of uploads that are kept in memory, all together; what does not fit goes to a
            private file.
        disk: of uploads that are kept in private files, all together.
        answers: that clients have not taken yet, all together.
        headers: until a connection must have sent a request's headers.
        idle: without a byte of a body, or without taking one of an answer.
        upload: until a body must be there.
        silence: without a message of a stream.
        deadline: of a request without ``X-Deadline-Ms``, and the most that it may ask for.

    Raises:
        ClapError: a value out of range.
    """

    requests: int = 256
    quick: int = 16
    long: int = 4
    listeners: int = 16
    body: int = 1024 * MIB
    seconds: float = 6 * 3600.0
    texts: int = 1000
    rows: int = 7200
    predictions: int = 50_000
    memory: int = 256 * MIB
    disk: int = 8192 * MIB
    answers: int = 256 * MIB
    headers: float = 10.0
    idle: float = 20.0
    upload: float = 600.0
    silence: float = 300.0
    deadline: float = 3600.0

    def __post_init__(self) -> None:
        for name in (
            "requests", "quick", "long", "listeners", "body", "texts", "rows", "predictions",
            "memory", "disk", "answers",
        ):  # fmt: skip
            whole(name, getattr(self, name))
        for name in ("headers", "idle", "upload", "silence", "deadline"):
            if not number(name, getattr(self, name), "a number of seconds") > 0:
                raise ClapError(f"{name}={getattr(self, name)}: pass a positive number of seconds.")
        check_max_seconds(self.seconds)

    @property
    def large(self) -> int:
        """Requests with long recordings that are in the server at a time."""
        return 4 * self.long

    def most_memory(self, spec: AudioSpec, dim: int, waiting: int) -> int:
        """Bytes that requests can take, all together, beside the engines and the program.

        Args:
            spec: of the bundle.
            dim: of an embedding.
            waiting: windows that may wait for the engine.
        """
        window = FLOAT * spec.window_samples
        # A length is found by holding samples, twice while they are cut.
        hearing = WINDOWS_IN_HAND * window + DECODING + 2 * FLOAT * HELD
        stream = WINDOWS_IN_HAND * window + DECODING + STREAM
        answer = max(PREDICTION * self.predictions, NUMBER * dim * self.rows)
        heard = self.quick + self.long
        banks = LABELS_KEPT * (FLOAT * dim + NAME) + BANKS_READ * self.texts * NAME
        return (
            heard * (hearing + answer)
            + self.listeners * stream
            + (waiting + 2 * (heard + self.listeners)) * window
            + 2 * self.memory
            + self.answers
            + self.requests * DOCUMENT * (1 + PARSED)
            + CONNECTIONS * CONNECTION
            + banks
        )
