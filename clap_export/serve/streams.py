"""A stream that is listened to: samples in, segments and events out, its windows with those of all
other requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from clap_export.serve.options import Finite
from clap_export.serve.problems import Problem
from runtime import Event, Events, LabelBank, Listener, Prediction, Rule, Segment
from runtime.arguments import shown
from runtime.audio import MAX_CHANNELS, MAX_RATE, MIN_RATE
from runtime.clips.clip import Piece
from runtime.clips.pooling import check_heard, mean_embedding
from runtime.lookup import similarities
from runtime.problems import listed
from runtime.scores import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from clap_export.serve.service import Service
    from runtime.clips.policy import Policy
    from runtime.manifest import Manifest

TYPES = {"s16le": "<i2", "f32le": "<f4"}
LONGEST_BACKLOG = 10.0  # seconds
MOST_NUMBERS = 384_000  # a second, of all channels
Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


Listed = Annotated[list[str], Field(min_length=1)]
Described = Annotated[dict[str, str | list[str]], Field(min_length=1)]


class Gap(BaseModel):
    """Sound that is missing between two messages of samples."""

    model_config = ConfigDict(extra="forbid")

    seconds: Seconds


class End(BaseModel):
    """The last message."""

    model_config = ConfigDict(extra="forbid")


class RuleOptions(BaseModel):
    """When a label is an event; see `runtime.Rule`."""

    model_config = ConfigDict(extra="forbid")

    on: Finite = 0.5
    off: Finite | None = None
    minimum: Seconds = 0.0
    gap: Seconds = 0.0

    def rule(self) -> Rule:
        """As the runtime has it."""
        return Rule(self.on, self.off, self.minimum, self.gap)


class LabelOptions(BaseModel):
    """What is listened for."""

    model_config = ConfigDict(extra="forbid")

    labels: Listed | Described | None = None
    bank: str | None = Field(None, max_length=64)
    templates: list[Annotated[str, Field(max_length=1000)]] = Field(
        default_factory=list, max_length=100
    )


class ListenOptions(LabelOptions):
    """The first message of a stream."""

    rate: int = Field(ge=MIN_RATE, le=MAX_RATE)
    channels: int = Field(1, ge=1, le=MAX_CHANNELS)
    dtype: Literal["s16le", "f32le"] = "s16le"
    scores: Literal["softmax", "cosine", "multilabel"] | None = None
    hop: float = Field(0.5, ge=0.05, le=3600, allow_inf_nan=False)
    gate: Finite | None = None
    top_k: int | None = Field(None, ge=1, le=1_000_000)
    segments: bool = True
    rule: RuleOptions = Field(default_factory=RuleOptions)
    rules: dict[str, RuleOptions] = Field(default_factory=dict)
    only: list[str] | None = None
    smooth: int = Field(1, ge=1, le=999)
    smoothing: Literal["median", "mean"] = "median"
    backlog: float | None = Field(None, gt=0, le=LONGEST_BACKLOG, allow_inf_nan=False)
    key: str | None = Field(None, max_length=1000)

    @model_validator(mode="after")
    def _bounded(self) -> ListenOptions:
        if self.rate * self.channels > MOST_NUMBERS:
            raise ValueError(f"rate times channels is at most {MOST_NUMBERS}")
        return self


class StreamClassifier:
    """Stands for a :class:`runtime.Classifier` whose encoder is shared with all requests.

    Args:
        service: whose scheduler runs the windows.
        bank: the labels.
        ranking: from cosines to predictions.
    """

    def __init__(self, service: Service, bank: LabelBank, ranking: Ranking) -> None:
        self._service, self._bank, self._ranking = service, bank, ranking

    @property
    def manifest(self) -> Manifest:
        """Of the bundle."""
        return self._service.encoder.manifest

    @property
    def encoder(self) -> StreamClassifier:
        """What embeds windows."""
        return self

    @property
    def policy(self) -> Policy:
        """The server's."""
        return self._service.encoder.policy

    @property
    def batch_size(self) -> int:
        """Windows that are given at once."""
        return self._service.plan.max_batch

    def embed_windows(
        self, batch: NDArray[np.float32], /, *, finite: bool = True
    ) -> NDArray[np.float32]:
        """See :meth:`runtime.Encoder.embed_windows`."""
        pieces = [Piece(row[np.newaxis], (0,), (len(row),), False) for row in batch]
        # A job for each call: a stream brings few windows at a time, and they are wanted soon.
        with self._service.audio.job() as job:
            return np.concatenate([rows for _, (rows, _) in job.results(pieces)])

    def rank(self, rows: NDArray[np.float32], top_k: int | None = None) -> list[Prediction]:
        """See :meth:`runtime.Classifier.rank`."""
        row = mean_embedding(check_heard(rows))
        return self._ranking.rank(similarities(self._bank.embeddings, row), self._bank.names, top_k)


class Listening:
    """One stream, in one thread.

    Args:
        service: that hears it.
        options: of its first message.
        bank: the labels.

    Raises:
        ClapError, Problem: an option cannot be used.
    """

    def __init__(self, service: Service, options: ListenOptions, bank: LabelBank) -> None:
        self._service, self._options = service, options
        self._check_names(bank)
        self._listener = Listener(
            self._classifier(bank), options.rate, hop=options.hop, gate=options.gate
        )
        self._events = Events(
            options.rule.rule(), rules={n: rule.rule() for n, rule in options.rules.items()},
            only=options.only, smooth=options.smooth, smoothing=options.smoothing,
        )  # fmt: skip
        self._ended = 0

    def samples(self, data: bytes) -> NDArray[Any]:
        """A message of samples, as ``(channels, samples)``.

        Raises:
            Problem: it holds half of a sample.
        """
        options = self._options
        kind = np.dtype(TYPES[options.dtype])
        if len(data) % (kind.itemsize * options.channels):
            raise Problem(
                422, "samples", f"a message has {len(data)} bytes: send whole samples of "
                f"{options.channels} channel(s) of {options.dtype}.",
            )  # fmt: skip
        return np.frombuffer(data, kind).reshape(-1, options.channels).T

    def exchange(self, bank: LabelBank) -> None:
        """Listen for other labels from now on; from any thread."""
        self._listener.exchange(self._classifier(bank))

    def hear(self, samples: NDArray[Any], gap: float) -> Iterator[dict[str, Any]]:
        """What samples tell, as messages.

        Raises:
            AudioError: they cannot be used.
        """
        if gap:
            yield {"type": "gap", "start": self._listener.seconds, "seconds": gap}
            yield from self._told(self._listener.gap(gap))
        rate = self._options.rate
        for at in range(0, samples.shape[1], rate):  # a second at a time: less is in memory
            yield from self._told(self._listener.feed(samples[:, at : at + rate]))

    def finish(self) -> Iterator[dict[str, Any]]:
        """What is told at the end."""
        yield from self._told(self._listener.flush())
        yield from self._events_told(self._events.finish())

    def summary(self, dropped: float) -> dict[str, Any]:
        """The last message."""
        counts = self._listener.counts
        return {
            "type": "end", "seconds": self._listener.seconds, "windows": counts.windows,
            "silent": counts.silent, "missing": counts.missing + counts.bridged,
            "dropped": dropped, "events": self._ended,
        }  # fmt: skip

    def _check_names(self, bank: LabelBank) -> None:
        """Rules are for labels of the stream; later ones may have none of these."""
        options, known = self._options, frozenset(bank.names)
        for field, names in (("rules", options.rules), ("only", options.only or ())):
            unknown = [shown(name) for name in names if name not in known]
            if unknown:
                raise Problem(
                    422, "options", f"{field}: {listed(unknown)}: not among the labels of the "
                    "stream.",
                )  # fmt: skip

    def _classifier(self, bank: LabelBank) -> StreamClassifier:
        manifest = self._service.encoder.manifest
        self._service.check_answered(bank, self._options.top_k)
        scores = self._options.scores or self._service.scores
        ranking = Ranking.of(manifest, scores, None, None, None)
        ranking = ranking.of_labels(bank.head, self._options.scores)
        return StreamClassifier(self._service, bank, ranking)

    def _told(self, segments: list[Segment]) -> Iterator[dict[str, Any]]:
        for segment in segments:
            changed = self._events.push(segment)
            if self._options.segments:
                yield {
                    "type": "segment", "start": segment.start, "end": segment.end,
                    "predictions": [
                        {"label": p.label, "score": p.score, "similarity": p.similarity}
                        for p in segment.predictions[: self._options.top_k]
                    ],
                }  # fmt: skip
            yield from self._events_told(changed)

    def _events_told(self, events: list[Event]) -> Iterator[dict[str, Any]]:
        for event in events:
            self._ended += event.phase == "ended"
            yield {
                "type": "event", "label": event.label, "phase": event.phase, "start": event.start,
                "end": event.end, "peak": event.peak, "peak_at": event.peak_at,
            }  # fmt: skip
