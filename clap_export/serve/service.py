"""What a server has: a bundle's encoders behind schedulers, banks of labels, and room for so many
requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clap_export.serve.admission import Door, Turn, Turns
from clap_export.serve.hearing import Hearing
from clap_export.serve.limits import Limits
from clap_export.serve.metrics import Metrics
from clap_export.serve.named import NamedBanks
from clap_export.serve.problems import Problem, without_place
from clap_export.serve.scheduler import Plan, Scheduler
from clap_export.serve.texts import Banks, WorkTexts
from clap_export.serve.uploads import Room, Upload, Uploads
from clap_export.serve.work import Work
from runtime.clips.clip import Piece
from runtime.clips.policy import Policy, chosen
from runtime.errors import ClapError, LabelError
from runtime.listening.backlog import Backlog

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clap_export.serve.hearing import Embedded
    from clap_export.serve.texts import Names
    from runtime import Encoder, LabelBank
    from runtime.scores import Mode

QUICK = 16  # windows of a recording that count as quick
TEXT_BATCH, TEXTS_WAITING, TEXT_THREADS = 16, 256, 8


class Longer(Exception):
    """A recording is longer than a quick one may be, and there is no room for long ones now."""


@dataclass(frozen=True)
class Setup:
    """How a service is made.

    Attributes:
        limits: of what is taken.
        plan: of the audio encoder's batches.
        one_thread: each lane's engine has one thread, as where each core has a lane.
        banks: given ones, by name; the first is the default.
        folder: of the other banks.
        allow_banks: those may be made and removed.
        scores: of requests that do not say which.
        top_k: labels in an answer, of requests that do not say how many; None for all.
    """

    limits: Limits = field(default_factory=Limits)
    plan: Plan = field(default_factory=lambda: Plan(4))
    one_thread: bool = False
    banks: Mapping[str, LabelBank] = field(default_factory=dict)
    folder: Path | None = None
    allow_banks: bool = False
    scores: Mode = "softmax"
    top_k: int | None = None


class Service:
    """The whole of it, without HTTP; to be closed.

    Args:
        encoder: of the bundle.
        setup: of the service.

    Raises:
        ClapError: the engine cannot be run, or a bank is of another space.
    """

    def __init__(self, encoder: Encoder, setup: Setup) -> None:
        self.encoder, self.limits, self.plan = encoder, setup.limits, setup.plan
        self.scores, self.top_k = setup.scores, setup.top_k
        self._one_thread = setup.one_thread
        manifest, limits = encoder.manifest, setup.limits
        self.named = NamedBanks(
            manifest.space_id, manifest.embedding_dim, setup.banks, setup.folder, setup.allow_banks
        )
        self.metrics = Metrics()
        self.audio: Scheduler[Piece, Embedded] = Scheduler(
            self._embed, setup.plan, self.metrics.watch("audio")
        )
        self.text: Scheduler[str, NDArray[np.float32]] = Scheduler(
            lambda texts: list(encoder.embed_text(texts)),
            Plan(TEXT_BATCH, waiting=TEXTS_WAITING), self.metrics.watch("text"),
        )  # fmt: skip
        self.banks = Banks(encoder, self.text, limits.texts)
        self.uploads = Uploads(limits.memory, limits.disk)
        self.answers = Room(limits.answers)
        self.door, self.large, self.streams = (
            Door(limits.requests), Door(limits.large), Door(limits.listeners),
        )  # fmt: skip
        self.turns = Turns(limits.quick, limits.long)
        self.threads = ThreadPoolExecutor(limits.quick + limits.long, "clap-hear")
        self.text_threads = ThreadPoolExecutor(TEXT_THREADS, "clap-text")
        self.stream_threads = ThreadPoolExecutor(limits.listeners, "clap-stream")
        self._measured()
        self.backlogs: set[Backlog] = set()  # of the streams that are open
        self.draining = False

    def warm(self) -> None:
        """Load both encoders, and run a full batch on each lane, so that no request waits for it.

        Raises:
            BackendError: an engine cannot be run.
        """
        spec = self.encoder.manifest.audio
        silence = np.zeros((1, spec.window_samples), np.float32)
        piece = Piece(silence, (0,), (spec.window_samples,), True)
        self._embed([piece] * self.plan.max_batch)
        if self.encoder.has_text:
            self.encoder.embed_text("a sound")

    @property
    def ready(self) -> str | None:
        """Why it takes no requests now, or None."""
        if self.draining:
            return "ending"
        return "the engine failed" if self.audio.failed else None

    @property
    def most_memory(self) -> int:
        """Bytes that requests can take, whatever is sent."""
        manifest = self.encoder.manifest
        return self.limits.most_memory(manifest.audio, manifest.embedding_dim, self.plan.waiting)

    def drain(self) -> None:
        """Take nothing new; streams end here, and what they have heard is told."""
        self.draining = True
        for backlog in list(self.backlogs):
            backlog.end()

    def stop(self) -> None:
        """End all work; requests are told so."""
        self.draining = True
        for backlog in list(self.backlogs):
            backlog.stop()
        self.audio.close()
        self.text.close()

    def close(self) -> None:
        """End all work, and release the engines."""
        self.stop()
        for pool in (self.threads, self.text_threads, self.stream_threads):
            pool.shutdown(wait=True, cancel_futures=True)
        self.encoder.close()

    def policy(self, windows: str | None) -> Policy:
        """The policy that a request asks for.

        Raises:
            ClapError: there is none of this name, or it needs another encoder than this one.
        """
        ours, manifest = self.encoder.policy, self.encoder.manifest
        if windows is None:
            return ours
        found = chosen(
            windows, ours, manifest.audio, manifest.gives_norm, manifest.source.family
        )  # fmt: skip
        if found.quirks != ours.quirks:
            raise ClapError(
                f"windows={windows!r} is for the whole server: start it with --windows {windows}."
            )
        return found

    def bank(self, labels: Names, name: str | None, templates: list[str], work: Work) -> LabelBank:
        """The labels of a request: its own, a named bank's, or the default's.

        Raises:
            LabelError: several of these, none of them, or labels that cannot be used.
            Problem: there is no such bank.
        """
        if labels and name is not None:
            raise LabelError("labels and a bank are given: choose one of them.")
        if labels:
            return self.made(labels, templates, work)
        if templates:
            raise LabelError("templates are for labels that come with them.")
        if name is not None:
            return self.named.get(name)
        if self.named.default is None:
            raise LabelError(
                "no labels: send some, name a bank, or start the server with --labels."
            )
        return self.named.default

    def made(self, labels: Names, templates: list[str], work: Work) -> LabelBank:
        """A bank of labels that are sent as words.

        Raises:
            LabelError: they cannot be used.
            Problem: there is no text encoder.
        """
        self._check_text()
        return self.banks.of(labels, templates, work)

    def check_answered(self, bank: LabelBank, top_k: int | None) -> None:
        """Look at how many labels one list of predictions may have.

        Raises:
            Problem: 413, too many.
        """
        count, most = min(len(bank), top_k or len(bank)), self.limits.predictions
        if count > most:
            raise Problem(
                413, "too_long", f"there are {count} labels to answer, and at most {most} are: "
                "send a smaller top_k.",
            )  # fmt: skip

    def texts(self, texts: list[str], work: Work) -> NDArray[np.float32]:
        """Embeddings float32 ``[n, dim]`` of texts as they are.

        Raises:
            Problem: there is no text encoder.
        """
        self._check_text()
        return WorkTexts(self.encoder, self.text, work).embed_text(texts)

    def heard(
        self, work: Work, turn: Turn, upload: Upload, policy: Policy, ending: Ending
    ) -> Iterator[tuple[Piece, NDArray[np.float32]]]:
        """The windows of a recording, and their vectors, in the thread that iterates.

        Args:
            work: of the request.
            turn: its place.
            upload: the recording.
            policy: of the windows.
            ending: takes what is known at the end.

        Raises:
            Longer: it has no place among the long ones.
            AudioError: the recording cannot be used.
        """
        with work.job(self.audio) as job:
            hearing = Hearing(self.encoder, job, upload.source(), policy)
            for piece, rows in hearing:
                if hearing.windows == QUICK and not piece.last and not turn.grow():
                    raise Longer
                ending.windows, ending.seconds = hearing.windows, hearing.seconds
                yield piece, rows
            ending.warning = hearing.warning and without_place(hearing.warning)

    def said_of(self, policy: Policy, ending: Ending) -> dict[str, Any]:
        """What is answered of every recording."""
        manifest = self.encoder.manifest
        return {
            "model": manifest.name, "space_id": manifest.space_id,
            "clip_space_id": policy.clip_space_id(manifest.space_id, manifest.audio),
            "seconds": ending.seconds, "windows_heard": ending.windows, "warning": ending.warning,
        }  # fmt: skip

    def _check_text(self) -> None:
        if not self.encoder.has_text:
            raise Problem(
                409, "texts", "this server has no text encoder, so labels cannot be sent as words: "
                "name a bank that GET /v1/banks lists, or send no labels for the server's own.",
            )  # fmt: skip

    def _measured(self) -> None:
        look, manifest = self.metrics.look, self.encoder.manifest
        self.metrics.engine(manifest.name, self.encoder.providers[0], self.plan.lanes)
        look("clap_open_requests", "Requests in the server.", lambda: self.door.inside)
        look("clap_open_long_requests", "Long ones of these.", lambda: self.large.inside)
        look("clap_open_streams", "Streams that are listened to.", lambda: self.streams.inside)
        look("clap_turns_waiting", "Recordings that wait for a turn.", self.turns.waiting)
        look("clap_queue_windows", "Windows that wait.", lambda: self.audio.waiting)
        look("clap_queue_texts", "Texts that wait.", lambda: self.text.waiting)
        look("clap_memory_limit_bytes", "Of all requests.", lambda: self.most_memory)

    def _embed(self, pieces: list[Piece]) -> list[Embedded]:
        return self.encoder.embed_together(pieces, one_thread=self._one_thread)


@dataclass
class Ending:
    """How far a recording was heard, and what was wrong with it."""

    windows: int = 0
    seconds: float = 0.0
    warning: str | None = None
