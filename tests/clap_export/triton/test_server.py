"""A real Triton answers what the runtime answers, refuses in its sentences, and stays up."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from clap_export.cli import main
from runtime import Classifier, Tagger
from runtime.manifest import read_manifest
from tests.clap_export.triton.server import Server, environment, server
from tests.tiny import bundle as tiny

pytestmark = pytest.mark.slow

LABELS = ["dog", "rain", "bell"]
OTHERS = ["sea", "loud wind"]
CLOSE = 1e-6


def command(*arguments: object) -> None:
    done = CliRunner().invoke(main, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def tagger(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tagger") / "tagger.onnx"
    command("freeze", tiny_bundle, ",".join(LABELS), "-o", path)
    return path


@pytest.fixture(scope="module")
def triton(
    tiny_bundle: Path, tagger: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server of all four models."""
    environment()
    folder = tmp_path_factory.mktemp("triton")
    given = ("--form", "python", "--max-batch", 8)
    repository = folder / "models"
    command("triton", tiny_bundle, "--out", repository, *given, "--labels", ",".join(LABELS))
    command("triton", tagger, "--out", folder / "other", *given)
    shutil.move(folder / "other" / "tagger", repository)
    with server(repository, folder) as found:
        yield found


def ask(triton: Server, way: str, model: str, **given: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """All outputs of a model, by name."""
    (found,) = triton.ask([(way, model, given, 0)])
    assert isinstance(found, dict), found
    return found


def refused(triton: Server, model: str, **given: NDArray[Any]) -> str:
    """The sentence of a request that is refused."""
    (found,) = triton.ask([("http", model, given, 0)])
    assert isinstance(found, tuple), found
    status, said = found
    assert status == "400", said
    return said


def rows(*clips: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack(clips)


def strings(*texts: str | bytes) -> NDArray[np.object_]:
    return np.array([list(texts)], np.object_)


def same(found: dict[str, NDArray[Any]], classifier: Classifier, clips: Any, rate: int) -> None:
    """That an answer has a classifier's numbers."""
    for row, clip in enumerate(clips):
        names = [name.decode() for name in found["labels"][row]]
        assert names == list(classifier.labels)
        for one in classifier.predict(clip, rate):
            at = names.index(one.label)
            assert found["scores"][row][at] == pytest.approx(one.score, abs=CLOSE)
            assert found["similarity"][row][at] == pytest.approx(one.similarity, abs=CLOSE)


@pytest.fixture(scope="module")
def classifiers(tiny_bundle: Path) -> Iterator[tuple[Classifier, Classifier]]:
    with Classifier(tiny_bundle, LABELS) as own, Classifier(tiny_bundle, OTHERS) as others:
        yield own, others


@pytest.mark.parametrize("way", ["http", "grpc"])
@pytest.mark.parametrize("samples", [1, 900, tiny.WINDOW, 3 * tiny.WINDOW + 77, 30 * tiny.WINDOW])
def test_recordings_of_any_length_have_the_classifiers_scores(
    triton: Server, classifiers: tuple[Classifier, Classifier], way: str, samples: int
) -> None:
    clips = rows(tiny.clip(1, samples), tiny.clip(2, samples))
    same(ask(triton, way, "classify", waveform=clips), classifiers[0], clips, tiny.RATE)
    labels = np.repeat(strings(*OTHERS), 2, axis=0)
    found = ask(triton, way, "classify", waveform=clips, labels=labels)
    same(found, classifiers[1], clips, tiny.RATE)


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_recordings_of_any_rate(
    triton: Server, classifiers: tuple[Classifier, Classifier], rate: int
) -> None:
    clips = rows(tiny.clip(3, 30_000))
    given = np.array([[rate]], np.int32)
    found = ask(triton, "grpc", "classify", waveform=clips, sample_rate=given)
    same(found, classifiers[0], clips, rate)


def test_windows_and_texts_by_hand(triton: Server) -> None:
    windows = rows(*(tiny.clip(seed) for seed in range(5)))
    found = ask(triton, "grpc", "audio", waveform=windows)
    for row, window in enumerate(windows):
        raw = tiny.slow_raw_vector(window)
        np.testing.assert_allclose(found["embedding"][row], raw / np.linalg.norm(raw), atol=1e-5)
        assert found["norm"][row] == pytest.approx(np.linalg.norm(raw), rel=1e-5)
    texts = ["this is a sound of dog", "rain", "a loud bell barking"]
    found = ask(triton, "http", "text", text=strings(*texts).T)
    for row, text in enumerate(texts):
        np.testing.assert_allclose(
            found["embedding"][row], tiny.slow_text_embedding(text), atol=1e-5
        )


def test_a_tagger(triton: Server, tagger: Path) -> None:
    clips = rows(tiny.clip(4, 2 * tiny.WINDOW + 5))
    with Tagger(tagger) as known:
        same(ask(triton, "http", "tagger", waveform=clips), known, clips, tiny.RATE)


def test_labels_are_named_where_the_client_asks_for_the_best(triton: Server) -> None:
    (found,) = triton.ask([("http", "tagger", {"waveform": rows(tiny.clip(6))}, 2)])
    best = [text.decode().split(":")[2] for text in found["scores"][0]]
    assert len(set(best)) == 2
    assert set(best) < set(LABELS)


def test_what_cannot_be_is_a_sentence_and_the_models_stay(
    triton: Server, classifiers: tuple[Classifier, Classifier]
) -> None:
    clip = rows(tiny.clip(1))
    nan, inf = np.full_like(clip, np.nan), np.full_like(clip, np.inf)
    for model in ("classify", "tagger"):
        assert "NaN or infinite" in refused(triton, model, waveform=nan)
        assert "holds no audio" in refused(triton, model, waveform=clip[:, :0])
        rate = np.array([[7]], np.int32)
        assert "7 Hz" in refused(triton, model, waveform=clip, sample_rate=rate)
        assert "'waveform' is missing" in refused(triton, model, sample_rate=rate)
    assert "NaN or infinite" in refused(triton, "audio", waveform=inf)
    assert "unexpected shape" in refused(triton, "audio", waveform=clip[:, :100])
    for labels, said in (
        (strings("dog", "dog"), "listed twice"),
        (strings("dog", " "), "not a name"),
        (strings(), "no labels"),
        (strings(b"\xff"), "not UTF-8"),
        (strings("dog\x1b[2J"), "control characters"),
        (strings(*map(str, range(5000))), "at most 4096"),
    ):
        assert said in refused(triton, "classify", waveform=clip, labels=labels)
    assert "pass words" in refused(triton, "text", text=strings("\t"))
    assert "not UTF-8" in refused(triton, "text", text=strings(b"\xff"))
    assert triton.ready()
    same(ask(triton, "http", "classify", waveform=clip), classifiers[0], clip, tiny.RATE)
    assert "a fault inside" not in triton.log.read_text()


def test_clients_share_batches_and_one_that_is_wrong_spoils_none(
    triton: Server, classifiers: tuple[Classifier, Classifier]
) -> None:
    def runs() -> tuple[int, int]:
        (found,) = triton.get("models/audio/stats")["model_stats"]
        return int(found["inference_count"]), int(found["execution_count"])

    clips = [rows(tiny.clip(seed, 4_000 + 700 * seed)) for seed in range(48)]
    bad, others = set(range(5, 48, 6)), set(range(1, 48, 3))
    requests = []
    for seed, clip in enumerate(clips):
        given = {"waveform": np.full_like(clip, np.nan) if seed in bad else clip}
        if seed in others:
            given["labels"] = strings(*OTHERS)
        requests.append(("http" if seed % 2 else "grpc", "classify", given, 0))
    before = runs()
    answers = triton.ask(requests)
    after = runs()
    for seed, found in enumerate(answers):
        if seed in bad:
            assert "NaN or infinite" in found[1]
        else:
            same(found, classifiers[seed in others], clips[seed], tiny.RATE)
    windows, executions = after[0] - before[0], after[1] - before[1]
    assert windows >= len(clips) - len(bad)
    assert executions < windows / 2


def test_the_server_has_our_configuration_and_no_torch(triton: Server, tiny_bundle: Path) -> None:
    for name in ("audio", "text", "classify", "tagger"):
        found = triton.get(f"models/{name}/config")["parameters"]
        assert found["space_id"]["string_value"] == read_manifest(tiny_bundle).space_id
    processes = triton.children()
    assert len(processes) == 4
    for process in processes:
        maps = Path(f"/proc/{process}/maps").read_text()
        assert "libtorch" not in maps
        assert "numpy" in maps  # it is the process of a model


def test_a_file_that_was_changed_is_not_served(tiny_bundle: Path, tmp_path: Path) -> None:
    environment()
    command("triton", tiny_bundle, "--out", tmp_path / "models", "--form", "python")
    path = tmp_path / "models" / "text" / "1" / "bundle" / "text.onnx"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with (
        pytest.raises(RuntimeError, match="does not have the recorded SHA-256"),
        server(tmp_path / "models", tmp_path),
    ):
        pass


def test_feature_fusion_hears_long_recordings_at_once(tmp_path: Path) -> None:
    environment()
    from clap_export.export.pack import write_bundle
    from tests import tiny as models

    write_bundle(models.checkpoint(audio=models.FUSION), tmp_path / "bundle")
    given = ("--form", "python", "--labels", ",".join(LABELS))
    command("triton", tmp_path / "bundle", "--out", tmp_path / "models", *given)
    lengths = [100, models.WINDOW, 3 * models.WINDOW + 11, 20 * models.WINDOW]
    clips = [rows(tiny.clip(seed, length)) for seed, length in enumerate(lengths)]
    with (
        Classifier(tmp_path / "bundle", LABELS) as classifier,
        server(tmp_path / "models", tmp_path) as found,
    ):
        answers = found.ask([("grpc", "classify", {"waveform": clip}, 0) for clip in clips])
        for clip, answer in zip(clips, answers, strict=True):
            same(answer, classifier, clip, models.RATE)
