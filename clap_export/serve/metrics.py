"""What is counted, for Prometheus. Names of labels, files and clients are no part of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
SIZES = (1, 2, 4, 8, 16, 32, 64)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """All of a server's."""

    def __init__(self) -> None:
        self.registry = made = CollectorRegistry()
        self.requests = Counter(
            "clap_requests", "Requests that were answered.", ("route", "status"), registry=made
        )
        self.seconds = Histogram(
            "clap_request_seconds", "From a request's headers to the end of its answer.",
            ("route",), buckets=SECONDS, registry=made,
        )  # fmt: skip
        stages = Histogram(
            "clap_stage_seconds", "Of a request: receive its body, wait for its turn, hear it.",
            ("stage",), buckets=SECONDS, registry=made,
        )  # fmt: skip
        self._stages = {name: stages.labels(name) for name in ("receive", "wait", "hear")}
        self.rejected = Counter(
            "clap_rejected", "Requests that were refused for want of room.", registry=made
        )
        self._batch = Histogram(
            "clap_batch_windows", "Windows or texts of a batch.", ("encoder",), buckets=SIZES,
            registry=made,
        )  # fmt: skip
        self._run = Histogram(
            "clap_batch_seconds", "Of a batch in the engine.", ("encoder",), buckets=SECONDS,
            registry=made,
        )  # fmt: skip
        self._queued = Histogram(
            "clap_queue_seconds", "That the first of a batch waited for the engine.", ("encoder",),
            buckets=SECONDS, registry=made,
        )  # fmt: skip
        self._windows = Counter(
            "clap_windows", "Windows or texts that the engine ran.", ("encoder",), registry=made
        )
        self._shared = Counter(
            "clap_shared_batches", "Batches of more than one request.", ("encoder",), registry=made
        )

    def engine(self, model: str, provider: str, lanes: int) -> None:
        """Say what runs."""
        names = ("model", "provider", "lanes")
        gauge = Gauge("clap_engine", "What runs.", names, registry=self.registry)
        gauge.labels(model, provider, lanes).set(1)

    def look(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Look at a value whenever it is asked for."""
        Gauge(name, text, registry=self.registry).set_function(value)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage of a request."""
        began = monotonic()
        try:
            yield
        finally:
            self._stages[name].observe(monotonic() - began)

    def watch(self, encoder: str) -> _Watch:
        """What a scheduler tells of its batches."""
        return _Watch(
            self._batch.labels(encoder).observe, self._run.labels(encoder).observe,
            self._queued.labels(encoder).observe, self._windows.labels(encoder).inc,
            self._shared.labels(encoder).inc,
        )  # fmt: skip

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)


class _Watch:
    """See :class:`clap_export.serve.scheduler.Watch`."""

    def __init__(
        self,
        batch: Callable[[float], None],
        run: Callable[[float], None],
        queued: Callable[[float], None],
        windows: Callable[[float], None],
        shared: Callable[[], None],
    ) -> None:
        self._batch, self._run, self._queued = batch, run, queued
        self._windows, self._shared = windows, shared

    def ran(self, windows: int, jobs: int, seconds: float, waited: float) -> None:
        self._batch(windows)
        self._run(seconds)
        self._queued(waited)
        self._windows(windows)
        if jobs > 1:
            self._shared()
