"""An error that somebody keeps, or that was caught, holds no recording."""

from __future__ import annotations

import gc
import io
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime import Classifier
from runtime.audio.content import Content, View
from runtime.clips.handover import Handover, ahead
from runtime.errors import AudioError, without_frames
from runtime.listening.backlog import Backlog


class Recording(io.BytesIO):
    """Whose end can be seen."""


@pytest.fixture
def no_cycles() -> Iterator[None]:
    """Only counts of references free anything."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


BAD = {"noise": b"\x01\x02\x03\x04" * 500, "text": b"no sound " * 50, "empty": b""}


@pytest.mark.usefixtures("no_cycles")
@pytest.mark.parametrize("kind", BAD)
def test_a_recording_that_was_refused_is_free(tiny_bundle: Path, kind: str) -> None:
    with Classifier(tiny_bundle, ["dog", "rain"]) as classifier:

        def ask() -> weakref.ref[Recording]:
            recording = Recording(BAD[kind])
            try:
                classifier.predict(recording)
            except AudioError:
                return weakref.ref(recording)
            raise AssertionError("it was read")

        assert ask()() is None


def test_an_error_among_results_holds_no_frames(tiny_bundle: Path) -> None:
    with Classifier(tiny_bundle, ["dog", "rain"]) as classifier:
        results = list(classifier.predict_many(list(BAD.values())))
    for result in results:
        link: BaseException | None = result.error
        assert link is not None
        while link is not None:
            assert link.__traceback__ is None
            link = link.__cause__ or link.__context__


@pytest.mark.usefixtures("no_cycles")
def test_a_maker_that_failed_is_free() -> None:
    def take() -> weakref.ref[Handover[int]]:
        handover: Handover[int] = Handover(2)
        handover.end(ValueError("broken"))
        try:
            list(handover)
        except ValueError:
            return weakref.ref(handover)
        raise AssertionError("no error")

    assert take()() is None


@pytest.mark.usefixtures("no_cycles")
def test_a_stream_that_failed_is_free() -> None:
    def take() -> weakref.ref[Backlog]:
        backlog = Backlog(1.0, drop=False)
        backlog.end(ValueError("broken"))
        try:
            list(backlog)
        except ValueError:
            return weakref.ref(backlog)
        raise AssertionError("no error")

    assert take()() is None


def test_a_maker_that_failed_is_still_heard() -> None:
    def things() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    taken = ahead(things())
    assert next(taken) == 1
    with pytest.raises(ValueError, match="broken"):
        next(taken)
    left: Handover[int] = Handover(1)
    left.leave()
    left.end(ValueError("nobody asks"))
    assert list(left) == []


@pytest.mark.usefixtures("no_cycles")
def test_a_disk_that_fails_under_a_view_lets_it_go() -> None:
    class Broken(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError("the disk is gone")

    view = View(Content(Broken(b"1234")), 0, 4)
    seen = weakref.ref(view)
    assert view.read(4) == b""
    assert isinstance(view.problem, OSError)
    del view
    assert seen() is None


def test_causes_let_go_too() -> None:
    def fail() -> None:
        try:
            raise ValueError("inner")
        except ValueError as error:
            raise AudioError("outer") from error

    with pytest.raises(AudioError) as caught:
        fail()
    kept = without_frames(caught.value)
    assert str(kept) == "outer"
    assert str(kept.__cause__) == "inner"
    assert kept.__traceback__ is None
    assert kept.__cause__ is not None
    assert kept.__cause__.__traceback__ is None
