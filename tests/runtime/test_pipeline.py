"""Streams of recordings: in order, lazily, in full batches, and no bad one disturbs another."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile

import runtime.backends.ort
from runtime import Classifier, Encoder
from runtime.backends.ort import OrtBackend
from runtime.clips.clip import Piece
from runtime.errors import AudioError, AudioWarning, BackendError, ClapError
from tests.runtime.test_audio import ERRORS
from tests.tiny import bundle as tinybundle
from tests.tiny.bundle import LABELS as NAMES
from tests.tiny.bundle import RATE, WINDOW, clip, wav


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> Classifier:
    return Classifier(tiny_bundle, NAMES, threads=1)


def decoders() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("clap-decode")]


@pytest.mark.parametrize(("batch_size", "parallel"), [(1, 1), (3, 1), (32, 1), (2, 3)])
def test_predict_many_keeps_order_and_bad_files_disturb_nobody(
    classifier: Classifier, tmp_path: Path, batch_size: int, parallel: int
) -> None:
    lengths = [WINDOW, 100, 3 * WINDOW + 1, WINDOW, 0, 2 * WINDOW, 700]
    paths = []
    for i, n in enumerate(lengths):
        paths.append(tmp_path / f"{i}.wav")
        paths[-1].write_bytes(wav(clip(i, n)))
    paths.insert(3, tmp_path / "missing.wav")
    paths[5].write_bytes(b"RIFF and then nothing of the kind")
    found = classifier.predict_many(
        iter(paths), batch_size=batch_size, decode_threads=3, parallel=parallel
    )
    results = list(found)
    assert [r.source for r in results] == paths
    for path, result in zip(paths, results, strict=True):
        if result.error is not None:
            with pytest.raises(AudioError) as alone:
                classifier.predict(path)
            assert str(result.error) == str(alone.value)
            assert result.predictions == []
            continue
        expected = classifier.predict(path)
        assert [p.label for p in result.predictions] == [p.label for p in expected]
        for got, want in zip(result.predictions, expected, strict=True):
            assert got.similarity == pytest.approx(want.similarity, abs=1e-6)
    assert [i for i, r in enumerate(results) if r.error] == [3, 5]


def test_predict_many_takes_pairs_and_arrays(classifier: Classifier) -> None:
    a, b = clip(0), clip(1, 24_000)
    pair = (b, 48_000)
    results = list(classifier.predict_many([a, pair, b[:0], (a,)], RATE, top_k=2))
    assert results[0].predictions == classifier.predict(a, RATE, top_k=2)
    assert results[1].source is pair
    assert [p.label for p in results[1].predictions] == [
        p.label for p in classifier.predict(b, 48_000, top_k=2)
    ]
    assert "0 samples" in str(results[2].error)
    assert "tuple of 1" in str(results[3].error)
    assert "pass sample_rate" in str(next(classifier.predict_many([a])).error)


def test_predict_many_of_nothing(classifier: Classifier) -> None:
    assert list(classifier.predict_many([])) == []


class Counted:
    """A long row of equal items that counts how many were taken, and fails where it must not be
    read to, so that a pipeline without bounds fails a test instead of filling the memory."""

    def __init__(self, item: object, limit: int = 400) -> None:
        self.item, self.limit, self.taken = item, limit, 0

    def __iter__(self) -> Iterator[object]:
        while self.taken < self.limit:
            self.taken += 1
            yield self.item
        raise AssertionError("read without bounds")


def test_predict_many_reads_lazily_and_ends_when_abandoned(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Counted((clip(0), RATE))
    at_first_run, sizes = [], []
    real = OrtBackend.run

    def spy(self: OrtBackend, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        at_first_run.append(row.taken)
        sizes.append(len(inputs["waveform"]))
        return real(self, inputs)

    monkeypatch.setattr(OrtBackend, "run", spy)
    results = classifier.predict_many(row, batch_size=24, decode_threads=2)
    assert row.taken == 0
    next(results)
    # The engine got its first batch while the next one was already being decoded.
    assert 24 + 23 <= at_first_run[0] <= 24 + 24 + 2
    assert row.taken <= 24 + 24 + 2
    assert decoders()
    for _ in range(100):
        next(results)
    assert row.taken <= 101 + 24 + 24 + 2
    assert set(sizes) == {24}
    results.close()
    assert not decoders()


def test_an_endless_row_of_bad_recordings_is_reported_as_it_goes(classifier: Classifier) -> None:
    row = Counted(b"junk")
    results = classifier.predict_many(row, batch_size=4, decode_threads=2)
    for i in range(1, 21):
        assert isinstance(next(results).error, AudioError)
        assert row.taken <= i + 4 + 4 + 2
    results.close()
    assert not decoders()


def test_long_recordings_are_not_decoded_far_ahead(classifier: Classifier) -> None:
    row = Counted((clip(0, 50 * WINDOW), RATE))
    results = classifier.predict_many(row, batch_size=32, decode_threads=2)
    for i in range(1, 6):
        next(results)
        assert row.taken <= i + 2 + 2
    results.close()


def test_several_encoders_at_once_read_no_further_than_they_need(classifier: Classifier) -> None:
    row = Counted((clip(0), RATE))
    results = classifier.predict_many(row, parallel=3)
    for i in range(1, 20):
        next(results)
        assert row.taken <= i + 3 + 1 + 3  # in threads, and waiting for one
    results.close()
    assert not decoders()


def test_so_many_runs_at_a_time_as_asked_and_one_recording_more_is_decoded(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, lock, inside, most = Encoder.embed_piece, threading.Lock(), 0, 0
    two, third = threading.Event(), threading.Event()

    def slow(self: Encoder, piece: Piece) -> np.ndarray:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            if inside == 2:
                two.set()
        # None ends before two are in the engine and a third recording was opened.
        assert two.wait(timeout=60)
        assert third.wait(timeout=60)
        try:
            return real(self, piece)
        finally:
            with lock:
                inside -= 1

    class Third(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            third.set()
            return super().read(size)

    monkeypatch.setattr(Encoder, "embed_piece", slow)
    items = [wav(clip(0)), wav(clip(1)), Third(wav(clip(2))), *[wav(clip(i)) for i in range(9)]]
    found = list(classifier.predict_many(items, parallel=2))
    assert [each.error for each in found] == [None] * 12
    assert most == 2


def test_what_is_no_fault_of_a_recording_is_raised(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_list() -> Iterator[bytes]:
        yield wav(clip(0))
        raise KeyError("the caller's own")

    with pytest.raises(KeyError, match="caller's own"):
        list(classifier.predict_many(broken_list()))
    with monkeypatch.context() as patch:

        def fail(*_: object) -> None:
            raise BackendError("out of memory")

        patch.setattr(runtime.backends.ort.OrtBackend, "run", fail)
        for parallel in (1, 2):
            with pytest.raises(BackendError, match="out of memory"):
                list(classifier.predict_many([wav(clip(0))], parallel=parallel))
    assert not decoders()


class Raises:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def read(self) -> bytes:
        raise self.error


@pytest.mark.parametrize("parallel", [1, 3])
def test_whatever_an_item_raises_is_its_own(classifier: Classifier, parallel: int) -> None:
    good = wav(clip(0))
    want = classifier.predict(good)
    items: list[object] = []
    for error in ERRORS:
        items += [good, Raises(error)]
    items += [good, (np.matrix(clip(0)), RATE), (clip(0), "fast"), (None, None), (), None, object()]
    results = list(classifier.predict_many(items, batch_size=7, parallel=parallel))
    assert [r.source for r in results] == items
    for i, error in enumerate(ERRORS):
        assert results[2 * i].predictions == pytest.approx(want)
        found = results[2 * i + 1].error
        assert isinstance(found, AudioError)
        assert type(error).__name__ in str(found)
    rest = results[2 * len(ERRORS) :]
    assert [r.error is None for r in rest] == [True, True, False, False, False, False, False]
    assert rest[1].predictions == pytest.approx(want)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_item_that_ends_the_program_ends_it(
    classifier: Classifier, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        list(classifier.predict_many([wav(clip(0)), Raises(error())]))
    assert not decoders()


def test_a_fault_of_ours_in_one_item_leaves_the_others(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, bad = Encoder.clip, b"bad"

    def opened(self: Encoder, source: object, rate: int | None = None) -> object:
        return 1 / 0 if source is bad else real(self, source, rate)  # type: ignore[arg-type]

    monkeypatch.setattr(Encoder, "clip", opened)
    one, two, three = classifier.predict_many([wav(clip(0)), bad, wav(clip(0))])
    assert one.predictions == three.predictions
    assert "ZeroDivisionError" in str(two.error)


@pytest.mark.parametrize("parallel", [1, 2])
def test_loud_recordings_are_errors_of_their_own(classifier: Classifier, parallel: int) -> None:
    def floats(samples: np.ndarray) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, samples, RATE, format="WAV", subtype="FLOAT")
        return file.getvalue()

    loud = floats(clip(0) * np.float32(1e20))
    good, bad, same = classifier.predict_many([clip(0), loud, clip(0)], RATE, parallel=parallel)
    assert isinstance(bad.error, AudioError)
    assert "must lie in [-1, 1]" in str(bad.error)
    assert good.predictions == same.predictions != []


@pytest.mark.parametrize("parallel", [1, 2])
def test_an_embedding_that_is_not_finite_is_the_error_of_its_item(
    tmp_path: Path, parallel: int
) -> None:
    """A model that cannot take samples beyond 50, as one in half precision overflows."""
    folder = tinybundle.build(tmp_path / "b")
    model = onnx.load(folder / "audio.onnx")
    (power,) = [node for node in model.graph.node if node.output[0] == "power"]
    power.input[1] = "huge"  # the square of a sample times 1e35: beyond float32 from about 60 on
    power.output[0] = "square"
    for name, value in (("scale", 1e35), ("inverse", 1e-35)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(value), name))
    at = list(model.graph.node).index(power)
    model.graph.node.insert(at, onnx.helper.make_node("Mul", ["framed", "scale"], ["huge"]))
    model.graph.node.insert(at + 2, onnx.helper.make_node("Mul", ["square", "inverse"], ["power"]))
    onnx.save(model, folder / "audio.onnx")
    model_bytes = (folder / "audio.onnx").stat().st_size
    manifest = (folder / "manifest.json").read_text()
    entry = json.loads(manifest)
    entry["files"]["audio.onnx"]["bytes"] = model_bytes
    (folder / "manifest.json").write_text(json.dumps(entry))
    with Classifier(folder, NAMES, check_hashes=False, threads=1) as made:
        good, loud = clip(0), np.full(WINDOW, 99.0, np.float32)
        one, two, three = made.predict_many([good, loud, good], RATE, parallel=parallel)
        assert one.predictions == three.predictions != []
        assert "not finite" in str(two.error)
        assert isinstance(two.error, AudioError)
        for call in (made.predict, made.timeline, made.encoder.embed_audio):
            with pytest.raises(AudioError, match="not finite"):
                call(loud, RATE)


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_file_that_is_not_whole_is_used_and_said(classifier: Classifier, parallel: int) -> None:
    whole = wav(clip(0, 2 * WINDOW))
    cut = whole[: len(whole) - WINDOW]
    fine, part = classifier.predict_many([whole, cut], parallel=parallel)
    assert fine.warning is None
    assert part.error is None
    assert "may not be whole" in (part.warning or "")
    with pytest.warns(AudioWarning, match="may not be whole"):
        assert classifier.predict(cut) == pytest.approx(part.predictions)
    with pytest.warns(AudioWarning, match="may not be whole"):
        classifier.timeline(cut)


def test_predict_many_checks_its_arguments_at_once(classifier: Classifier) -> None:
    for arguments, message in (
        ({"batch_size": 0}, "batch_size=0"),
        ({"decode_threads": 0}, "decode_threads=0"),
        ({"top_k": 0}, "top_k=0"),
        ({"parallel": 0}, "parallel=0"),
    ):
        with pytest.raises(ClapError, match=message):
            classifier.predict_many([], **arguments)
    for name in ("batch_size", "decode_threads", "top_k", "parallel"):
        for value in (1.5, True, "2", -1, float("nan"), [1]):
            with pytest.raises(ClapError, match=f"{name}="):
                classifier.predict_many([], **{name: value})
    for one in ("a.wav", b"RIFF", np.zeros(10), Path("a.wav"), io.BytesIO(b"x"), None, 7):
        with pytest.raises(ClapError, match="in a list"):
            classifier.predict_many(one)
