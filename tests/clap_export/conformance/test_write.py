"""What a kit says is true: cases are recomputed here in slow, plain numpy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from clap_export.cli import main
from clap_export.conformance import kit
from clap_export.conformance.kit import Case
from clap_export.conformance.write import write
from clap_export.slim import slim
from runtime.bundle import Bundle
from runtime.conformance.wire import TYPES
from runtime.errors import ClapError
from runtime.manifest import read_manifest
from tests.places import ROOT
from tests.tiny import bundle as tiny


@pytest.fixture(scope="module")
def cases(kit_folder: Path) -> dict[str, Case]:
    return {case.id: case for case in kit.read(kit_folder).cases}


@pytest.fixture(scope="module")
def array(kit_folder: Path) -> Any:
    """Reads an array of the kit, by what docs/conformance.md says of one."""

    def read(value: dict[str, Any]) -> np.ndarray:
        data = (kit_folder / value["file"]).read_bytes()
        return np.frombuffer(data, TYPES[value["dtype"]]).reshape(value["shape"])

    return read


def outputs(case: Case) -> dict[str, Any]:
    assert case.expected is not None, case.error
    return case.expected


def fill(clip: np.ndarray) -> np.ndarray:
    """The tiny bundle repeats short clips."""
    return np.array([clip[i % len(clip)] for i in range(tiny.WINDOW)])


def aligned(clip: np.ndarray, hop: int) -> list[np.ndarray]:
    """Windows a hop apart, and one more that ends with the clip."""
    if len(clip) <= tiny.WINDOW:
        return [fill(clip)]
    starts = list(range(0, len(clip) - tiny.WINDOW + 1, hop))
    if starts[-1] != len(clip) - tiny.WINDOW:
        starts.append(len(clip) - tiny.WINDOW)
    return [clip[s : s + tiny.WINDOW] for s in starts]


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.sqrt((vector**2).sum())


def embedded(windows: list[np.ndarray]) -> np.ndarray:
    return unit(sum(tiny.slow_audio_embedding(w) for w in windows) / len(windows))


@pytest.mark.slow
def test_the_same_bundle_gives_the_same_bytes(
    calibrated: Path, kit_folder: Path, tmp_path: Path
) -> None:
    """In another process, whose hashes have another seed."""
    code = (
        "import sys; from pathlib import Path; from clap_export.conformance.write import write; "
        "from tests.tiny import bundle as tiny; "
        "write(Path(sys.argv[1]), Path(sys.argv[2]), tiny.LABELS)"
    )
    command = [sys.executable, "-c", code, str(calibrated), str(tmp_path / "again")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, again = (
        {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        for folder in (kit_folder, tmp_path / "again")
    )
    assert first == again
    assert not list(tmp_path.glob(".*"))


def test_every_task_is_asked_in_full(cases: dict[str, Case]) -> None:
    for name, case in cases.items():
        assert name.split("/")[0] == case.task
        assert len(name.split("/")) in (2, 3)
    answered = {case.task for case in cases.values() if case.expected}
    refused = {case.task for case in cases.values() if case.error}
    assert len(answered) == 12
    assert refused >= {"space", "decode", "embed", "tokens", "bank", "classify", "tagger"}
    # Errors are where they are meant to be, and nowhere else.
    for case in cases.values():
        meant = any(w in case.id for w in ("refused", "broken", "damaged", "faithful"))
        assert (case.error is not None) == (meant or case.id == "resample/44100-to-16000/1-samples")
    codes = {case.error.code for case in cases.values() if case.error}
    assert codes == {"argument", "schema", "bundle", "audio", "label"}


def test_decoded_samples_are_those_of_the_file(
    kit_folder: Path, cases: dict[str, Case], array: Any
) -> None:
    """By libsndfile, of the files whose headers are true."""
    for name, case in cases.items():
        if not name.startswith(("decode/kind", "decode/channels", "decode/rate", "decode/full")):
            continue
        samples, rate = soundfile.read(kit_folder / case.input["wav"], always_2d=True)
        assert outputs(case)["rate"] == rate
        assert outputs(case)["warning"] is None
        np.testing.assert_allclose(
            array(outputs(case)["samples"]), samples.mean(axis=1), atol=1e-7, rtol=0
        )
    warned = {n for n, c in cases.items() if c.expected and c.expected.get("warning")}
    assert warned == {
        "decode/length-too-large", "decode/length-zero", "decode/cut-in-a-sample"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["one-sample", "window-less-one", "window-and-one", "long"])
def test_windows_are_cut_as_the_page_says(cases: dict[str, Case], array: Any, name: str) -> None:
    case = cases[f"windows/default/{name}"]
    clip = array(case.input["samples"])
    want = aligned(clip, tiny.WINDOW)
    np.testing.assert_array_equal(array(outputs(case)["windows"]), np.float32(want))
    assert outputs(case)["ends"] == [
        min(start + tiny.WINDOW, len(clip)) for start in outputs(case)["starts"]
    ]


def test_windows_of_policies(cases: dict[str, Case], array: Any) -> None:
    clip = array(cases["windows/all/long"].input["samples"])
    n, w = len(clip), tiny.WINDOW
    starts = {name: outputs(cases[f"windows/{name}/long"])["starts"] for name in (
        "all", "head", "middle", "spaced", "spaced:5", "head:2", "back-to-back", "filled",
        "dropped", "middle-of-4", "spaced-one",
    )}  # fmt: skip
    assert starts["all"] == [0, w, 2 * w, n - w]
    assert starts["head"] == [0]
    assert starts["middle"] == starts["spaced-one"] == [(n - w) // 2]
    assert starts["spaced"] == [0, (n - w) // 2, n - w]
    assert starts["spaced:5"] == [i * (n - w) // 4 for i in range(5)]
    assert starts["head:2"] == [0, w]
    assert starts["back-to-back"] == [0, w, 2 * w]
    hop = round(0.8 * w)
    assert starts["filled"] == [0, hop, 2 * hop, 3 * hop, 4 * hop]
    assert 3 * hop + w < n < 4 * hop + w
    last = array(outputs(cases["windows/filled/long"])["windows"])[-1]
    np.testing.assert_array_equal(last, fill(clip[4 * hop :]))
    assert starts["dropped"] == list(range(0, n - w + 1, round(0.6 * w)))
    first = (n - w - 3 * w // 2) // 2
    assert starts["middle-of-4"] == [first + i * w // 2 for i in range(4)]


def test_windows_behind_an_intro(cases: dict[str, Case], array: Any) -> None:
    """Of three that are asked for, two fit: right behind it, and at the end."""
    case = cases["windows/past-intro/song"]
    song = array(case.input["samples"])
    first, last = 45 * tiny.RATE, len(song) - tiny.WINDOW
    assert outputs(case)["starts"] == [first, last]
    want = [song[start : start + tiny.WINDOW] / np.float32(32768) for start in (first, last)]
    np.testing.assert_array_equal(array(outputs(case)["windows"]), np.float32(want))


def test_embeddings_and_poolings(cases: dict[str, Case], array: Any) -> None:
    def of(name: str) -> tuple[np.ndarray, np.ndarray]:
        case = cases[f"embed/{name}"]
        return array(case.input["samples"]), array(outputs(case)["embedding"])

    for name in ("default/one-sample", "default/a-third", "default/long"):
        clip, found = of(name)
        np.testing.assert_allclose(found, embedded(aligned(clip, tiny.WINDOW)), atol=1e-5)
    clip, found = of("raw-mean/long")
    half = aligned(clip, tiny.WINDOW // 2)
    raw = unit(sum(tiny.slow_raw_vector(w) for w in half))
    np.testing.assert_allclose(found, raw, atol=1e-5)
    _, found = of("energy/long")
    weighted = sum(
        tiny.slow_audio_embedding(w) * (1e-12 + np.mean(np.float64(w) ** 2)) for w in half
    )
    np.testing.assert_allclose(found, unit(weighted), atol=1e-5)
    samples, found = of("int16/stereo")
    mono = (samples / 32768).mean(axis=0)
    np.testing.assert_allclose(found, embedded([fill(mono)]), atol=1e-5)


def test_tokens_and_texts(cases: dict[str, Case], array: Any) -> None:
    case = cases["tokens/batch"]
    texts = case.input["texts"]
    words = [["[CLS]", *text.split(), "[SEP]"] for text in texts]
    for i, row in enumerate(words):
        if len(row) > tiny.MAX_TOKENS:
            words[i] = [*row[: tiny.MAX_TOKENS - 1], "[SEP]"]
    longest = max(map(len, words))
    ids = [[tiny.VOCABULARY.index(w) if w in tiny.VOCABULARY else 1 for w in row] for row in words]
    want = [row + [0] * (longest - len(row)) for row in ids]
    assert array(outputs(case)["input_ids"]).tolist() == want
    mask = array(outputs(case)["attention_mask"])
    assert mask.sum(axis=1).tolist() == [len(row) for row in words]
    found = array(outputs(cases["embed_text/plain"])["embeddings"])[0]
    want_text = tiny.slow_text_embedding(cases["embed_text/plain"].input["texts"][0])
    np.testing.assert_allclose(found, want_text, atol=1e-6)


def named_rows(kit_folder: Path, path: str) -> dict[str, np.ndarray]:
    """A bank, by numpy alone."""
    with np.load(kit_folder / path) as data:
        names = json.loads(data["meta"].tobytes())["names"]
        return dict(zip(names, data["embeddings"].astype(np.float64), strict=True))


@pytest.mark.parametrize("mode", ["softmax", "cosine", "multilabel"])
def test_scores(kit_folder: Path, cases: dict[str, Case], array: Any, mode: str) -> None:
    case = cases[f"classify/{mode}/long"]
    found = outputs(case)
    rows = named_rows(kit_folder, case.input["bank"])
    sound = embedded(aligned(array(case.input["samples"]), tiny.WINDOW))
    cosines = {name: float(row @ sound) for name, row in rows.items()}
    if mode == "softmax":
        total = sum(np.exp(10 * c) for c in cosines.values())
        scores = {name: np.exp(10 * c) / total for name, c in cosines.items()}
    elif mode == "multilabel":
        scores = {name: 1 / (1 + np.exp(-(12 * c - 3))) for name, c in cosines.items()}
    else:
        scores = cosines
    assert found["labels"] == sorted(scores, key=lambda name: -scores[name])
    assert len(found["labels"]) >= 2
    np.testing.assert_allclose(found["scores"], [scores[n] for n in found["labels"]], atol=1e-5)
    np.testing.assert_allclose(
        found["similarities"], [cosines[n] for n in found["labels"]], atol=1e-5
    )
    # Another engine cannot turn the order round.
    limit = case.tolerance["similarities"].limit
    assert limit is not None
    assert np.diff(found["similarities"]).max() < -2 * limit
    some = outputs(cases[f"classify/{mode}/some"])["scores"]
    assert len(some) > 0
    assert min(some) >= cases[f"classify/{mode}/some"].input["threshold"]
    assert outputs(cases[f"classify/{mode}/none-of-these"])["labels"] == []


@pytest.mark.parametrize("kind", ["softmax", "multilabel"])
def test_scores_of_heads(kit_folder: Path, cases: dict[str, Case], array: Any, kind: str) -> None:
    """By the scales and biases that stand in the file."""
    case = cases[f"classify/head-{kind}/long"]
    found = outputs(case)
    with np.load(kit_folder / case.input["bank"]) as data:
        names = json.loads(data["meta"].tobytes())["names"]
        rows, scales, biases = (
            np.float64(data[name]) for name in ("embeddings", "scales", "biases")
        )
    cosines = rows @ embedded(aligned(array(case.input["samples"]), tiny.WINDOW))
    powers = np.exp(scales * cosines + biases)
    scores = powers / powers.sum() if kind == "softmax" else powers / (1 + powers)
    order = np.argsort(-scores)
    assert len(order) >= 2
    assert found["labels"] == [names[i] for i in order]
    np.testing.assert_allclose(found["scores"], scores[order], atol=1e-5)
    np.testing.assert_allclose(found["similarities"], cosines[order], atol=1e-5)
    # A reader that takes the bundle's own scale fails.
    limit = case.tolerance["scores"].limit
    assert limit is not None
    usual = np.exp(10 * cosines) / np.exp(10 * cosines).sum()
    assert np.abs(usual - scores).max() > 10 * limit
    assert outputs(cases[f"classify/head-{kind}/own-scores"]) == found
    assert outputs(cases[f"classify/head-{kind}/top-1"])["labels"] == found["labels"][:1]
    some = cases[f"classify/head-{kind}/some"]
    assert 0 < len(outputs(some)["labels"]) < len(names)


def test_heads_are_read_refused_and_heard(cases: dict[str, Case], array: Any) -> None:
    for kind in ("softmax", "multilabel"):
        read = outputs(cases[f"bank/head/{kind}"])
        assert read["scores"] == kind
        assert read["templates"] == []
        assert len(set(array(read["scales"]).tolist())) > 1
        assert outputs(cases[f"listen/head-{kind}"])["events"]
        assert array(outputs(cases[f"timeline/head-{kind}/third"])["scores"]).max() <= 1
    refused = {n: c.error.message for n, c in cases.items() if "/refused/head-" in n and c.error}
    equal = outputs(cases["classify/head-multilabel/equal"])
    assert set(equal["scores"]) == {1.0}
    assert not (np.diff(equal["similarities"]) < 0).all()
    assert len(refused) > 40
    # Each is refused for what is wrong with it.
    said = [message.partition("': ")[2] or message for message in refused.values()]
    assert len(set(said)) > 30
    assert len(outputs(cases["tagger/head/long"])["labels"]) == 2


def test_equal_scores_come_in_the_banks_order(kit_folder: Path, cases: dict[str, Case]) -> None:
    for mode in ("softmax", "cosine", "multilabel"):
        case = cases[f"classify/ties/{mode}"]
        names = list(named_rows(kit_folder, case.input["bank"]))
        found, scores = outputs(case)["labels"], outputs(case)["scores"]
        for first, second in zip(range(0, 6, 2), range(1, 6, 2), strict=True):
            assert scores[first] == scores[second]
            assert names.index(found[first]) < names.index(found[second])
            assert found[second] == f"again {found[first]}"


def test_a_timeline_has_each_windows_scores(
    kit_folder: Path, cases: dict[str, Case], array: Any
) -> None:
    case = cases["timeline/cosine/long"]
    rows = named_rows(kit_folder, case.input["bank"])
    windows = aligned(array(case.input["samples"]), tiny.WINDOW)
    want = [[row @ tiny.slow_audio_embedding(w) for row in rows.values()] for w in windows]
    assert outputs(case)["labels"] == list(rows)
    np.testing.assert_allclose(array(outputs(case)["scores"]), want, atol=1e-5)
    lengths = np.subtract(outputs(case)["ends"], outputs(case)["starts"])
    np.testing.assert_allclose(lengths, tiny.WINDOW / tiny.RATE)


def test_streams_have_events_and_silence(cases: dict[str, Case]) -> None:
    found = {name: outputs(c) for name, c in cases.items() if c.task == "listen"}
    assert sum(bool(one["events"]) for one in found.values()) > 10
    assert max(len(one["events"]) for one in found.values()) >= 3
    assert found["listen/gate"]["silent"] > 0
    assert found["listen/plain"]["silent"] == 0
    # However the samples are divided, the events are the same.
    for size in ("small-chunks", "one-chunk"):
        assert found[f"listen/{size}/44100"] == found["listen/odd-chunks/44100"]
    for name, one in found.items():
        for event in one["events"]:
            assert event["start"] < event["end"], name


def test_a_tagger_gives_what_its_bank_does(cases: dict[str, Case], array: Any) -> None:
    """The labels lie in the file; here they are made from their names."""
    case = cases["tagger/softmax/long"]
    found = outputs(case)
    sound = embedded(aligned(array(case.input["samples"]), tiny.WINDOW))
    want = [float(tiny.slow_text_embedding(f"this is a sound of {n}") @ sound)
            for n in found["labels"]]  # fmt: skip
    np.testing.assert_allclose(found["similarities"], want, atol=1e-5)
    assert len(outputs(cases["tagger/softmax/top-1"])["labels"]) == 1
    assert len(outputs(cases["tagger/multilabel/long"])["labels"]) == 2


def test_a_bundle_without_a_text_encoder_has_a_kit(calibrated: Path, tmp_path: Path) -> None:
    slim(Bundle(calibrated), tmp_path / "slim")
    made = write(tmp_path / "slim", tmp_path / "kit")
    tasks = {case.task for case in made.cases if case.expected}
    assert tasks >= {"classify", "timeline", "listen", "tagger", "bank"}
    assert not tasks & {"tokens", "embed_text"}
    assert not (tmp_path / "kit" / "without-text").exists()


def test_a_kit_is_written_whole_or_not_at_all(
    calibrated: Path, tmp_path: Path, kit_folder: Path
) -> None:
    def run(*arguments: object) -> str:
        done = CliRunner().invoke(main, ["conformance", *map(str, arguments)])
        assert done.exit_code == 2, done.output
        return done.output

    assert "exists already" in run(calibrated, "-o", kit_folder)
    assert "does not exist" in run(calibrated, "-o", tmp_path / "no" / "kit")
    assert "no bundle at" in run(tmp_path, "-o", tmp_path / "kit")
    bank = kit_folder / "banks" / "refused-other-dimensions.npz"
    assert "dimensions" in run(calibrated, "-o", tmp_path / "kit", "--labels", bank)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ClapError, match="exists already"):
        write(calibrated, kit_folder)


def test_links_to_the_bundle_cannot_change_it(calibrated: Path, kit_folder: Path) -> None:
    """The kit's graphs may be the bundle's own files; its manifest is one of its own."""
    assert read_manifest(kit_folder / "bundle") == read_manifest(calibrated)
    ours, theirs = (f / "manifest.json" for f in (kit_folder / "bundle", calibrated))
    assert not ours.samefile(theirs)
